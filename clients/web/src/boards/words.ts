import { boardsEn } from '../i18n/boards-en';
import { boardsRu } from '../i18n/boards-ru';
import { pageWords } from '../i18n/page-words';

export const useBoardsWords = pageWords(boardsEn, boardsRu);
