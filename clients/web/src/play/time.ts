import type { Words } from '../i18n/en';
import { localeOf } from '../i18n/numbers';

/**
 * Formats a duration as `1:02:03` or `02:03`, rounded up to whole seconds, and one of a day or more
 * in days and hours; a negative one is `00:00`.
 */
export function clock(milliseconds: number, { days }: Words): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1_000));
  const two = (number: number): string => String(number).padStart(2, '0');
  const hours = Math.floor(seconds / 3_600);
  if (hours >= 24) return days(Math.floor(hours / 24), hours % 24);
  return `${hours > 0 ? `${hours}:` : ''}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/** Cached formats by language and day, because creating one takes longer than a frame. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** Formats a moment as the time of day, with the weekday unless it is today. */
export function timeOfDay(at: number, language: string): string {
  const today = new Date(at).toDateString() === new Date().toDateString();
  const key = `${language} ${today}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(localeOf(language), { hour: '2-digit', minute: '2-digit', ...(today ? {} : { weekday: 'short' }) });
    formats.set(key, format);
  }
  return format.format(at);
}
