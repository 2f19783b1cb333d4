import { localeOf } from '../i18n/numbers';
import { timeOfDay } from '../play/time';

const DAY_MS = 86_400_000;
const UNITS = [['hour', 3_600_000], ['minute', 60_000]] as const;
/** From here on a moment has its date. */
const DAYS = 7;

/** Cached formats by language, because creating one takes longer than a frame. */
const formats = new Map<string, Intl.RelativeTimeFormat>();

function formatOf(language: string): Intl.RelativeTimeFormat {
  const format = formats.get(language) ?? new Intl.RelativeTimeFormat(localeOf(language), { numeric: 'auto' });
  formats.set(language, format);
  return format;
}

/** Returns how many midnights of the local zone lie between two moments. */
function daysBetween(from: number, to: number): number {
  const dayOf = (at: number): number => {
    const date = new Date(at);
    return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / DAY_MS;
  };
  return dayOf(to) - dayOf(from);
}

/** Formats how long ago a moment was, such as `5 minutes ago`, or its date and time. */
export function ago(at: number, language: string, now: number): string {
  const past = Math.max(0, now - at);
  const format = formatOf(language);
  if (past >= DAY_MS) {
    const days = Math.max(1, daysBetween(at, now)); // a day may have 25 hours
    return days >= DAYS ? timeOfDay(at, language, now) : format.format(-days, 'day');
  }
  const [unit, length] = UNITS.find(([, length]) => past >= length) ?? ['second', Infinity];
  return format.format(-Math.floor(past / length), unit);
}
