// The words of the profile page: its own texts, and those of the whole app.
import { en } from '../i18n/en';
import { profileEn } from '../i18n/profile-en';
import { profileRu } from '../i18n/profile-ru';
import { ru } from '../i18n/ru';
import { useSettings } from '../settings';

const languages = { en: { ...en, ...profileEn }, ru: { ...ru, ...profileRu } };

export const useProfileWords = (): typeof languages.en => languages[useSettings().language];
