import { localeOf } from '../i18n/numbers';
import { timeOfDay } from '../play/time';

const UNITS = [['day', 86_400_000], ['hour', 3_600_000], ['minute', 60_000]] as const;
/** From here on a moment has its date. */
const DAYS = 7;

/** Formats how long ago a moment was, such as `5 minutes ago`, or its date and time. */
export function ago(at: number, language: string, now: number): string {
  const past = Math.max(0, now - at);
  if (past >= DAYS * 86_400_000) return timeOfDay(at, language, now);
  const format = new Intl.RelativeTimeFormat(localeOf(language), { numeric: 'auto' });
  const [unit, length] = UNITS.find(([, length]) => past >= length) ?? ['second', Infinity];
  return format.format(-Math.floor(past / length), unit);
}
