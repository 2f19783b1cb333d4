import { profileEn } from '../i18n/profile-en';
import { profileRu } from '../i18n/profile-ru';
import { pageWords } from '../i18n/page-words';

export const useProfileWords = pageWords(profileEn, profileRu);
