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

const FORMATS = {
  time: { hour: '2-digit', minute: '2-digit' },
  weekday: { weekday: 'short' },
  day: { day: 'numeric', month: 'short' },
  dayOfYear: { day: 'numeric', month: 'short', year: 'numeric' },
} as const;

/** Cached formats by language, because creating one takes longer than a frame. */
const formats = new Map<string, Intl.DateTimeFormat>();

function write(at: number, language: string, name: keyof typeof FORMATS): string {
  const key = `${language} ${name}`;
  const format = formats.get(key) ?? new Intl.DateTimeFormat(localeOf(language), FORMATS[name]);
  formats.set(key, format);
  return format.format(at);
}

/** Up to here a weekday names one day. */
const WEEKDAYS_MS = 6 * 86_400_000;

/**
 * Formats a moment as the time of day, after the weekday unless it is today, or after the date if it
 * is more than six days away: `14:00`, `Mon 14:00`, `2 Nov, 14:00`. It fits after a preposition in
 * each language.
 */
export function timeOfDay(at: number, language: string, now = Date.now()): string {
  const time = write(at, language, 'time');
  const [day, today] = [new Date(at), new Date(now)];
  if (day.toDateString() === today.toDateString()) return time;
  if (Math.abs(at - now) <= WEEKDAYS_MS) return `${write(at, language, 'weekday')} ${time}`;
  return `${write(at, language, day.getFullYear() === today.getFullYear() ? 'day' : 'dayOfYear')}, ${time}`;
}
