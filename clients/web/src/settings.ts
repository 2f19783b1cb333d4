// The settings of the app in this browser (language, theme, sound), kept in local storage.
import { en } from './i18n/en';
import type { Words } from './i18n/en';
import { ru } from './i18n/ru';
import { kept } from './kept';
import { useValue, value } from './value';

export type Theme = 'system' | 'light' | 'dark';

export interface Settings {
  readonly language: 'en' | 'ru';
  readonly theme: Theme;
  readonly sound: boolean;
}

const KEY = 'raidhall.settings';
const languages = { en, ru };

const initial = (): Settings => {
  const usual: Settings = { language: navigator.language.startsWith('ru') ? 'ru' : 'en', theme: 'system', sound: true };
  try {
    return { ...usual, ...knownIn(JSON.parse(kept.getItem(KEY) ?? '{}') as object) };
  } catch {
    return usual;
  }
};

/** Returns the settings among values by key, without values that this release does not know. */
export function knownIn({ language, theme, sound }: { readonly [key in keyof Settings]?: unknown }): Partial<Settings> {
  return {
    ...((language === 'en' || language === 'ru') && { language }),
    ...((theme === 'system' || theme === 'light' || theme === 'dark') && { theme }),
    ...(typeof sound === 'boolean' && { sound }),
  };
}

export const settings = value(initial());

/** Sets settings in this browser. */
export function set(change: Partial<Settings>): void {
  settings.set({ ...settings.get(), ...change });
  apply();
  try {
    kept.setItem(KEY, JSON.stringify(settings.get()));
  } catch {
    // The browser forbids storage: the settings last as long as the page.
  }
}

/** Sets the language and theme on the document's root element. */
export function apply(): void {
  const { language, theme } = settings.get();
  document.documentElement.lang = language;
  document.documentElement.dataset.theme = theme;
}

export const useSettings = (): Settings => useValue(settings);

export const useWords = (): Words => languages[useSettings().language];

export const words = (): Words => languages[settings.get().language];
