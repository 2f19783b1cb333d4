import { inboxEn } from '../i18n/inbox-en';
import { inboxRu } from '../i18n/inbox-ru';
import { pageWords } from '../i18n/page-words';

export const useInboxWords = pageWords(inboxEn, inboxRu);
