// The words of a part of the app that is loaded when it is first shown: its own texts, which are loaded
// with it, and those of the whole app.
import { useSettings } from '../settings';
import { en } from './en';
import type { Words } from './en';
import { ru } from './ru';

export function pageWords<Texts extends object>(english: Texts, russian: Texts): () => Words & Texts {
  const languages = { en: { ...en, ...english }, ru: { ...ru, ...russian } };
  return () => languages[useSettings().language];
}
