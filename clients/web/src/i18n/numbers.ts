// Numbers and times as the player's region writes them.

/** Returns the browser's own variant of a language, such as `en-GB` for `en`. */
export function localeOf(language: string): string {
  return globalThis.navigator?.languages?.find(name => name.startsWith(language)) ?? language;
}

/** Returns a function that writes whole numbers with grouped digits. */
export function grouped(language: string): (number: number) => string {
  const format = new Intl.NumberFormat(localeOf(language));
  return number => format.format(number);
}
