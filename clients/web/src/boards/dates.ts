import { localeOf } from '../i18n/numbers';

/** Cached formats by language, because creating one takes longer than a frame. */
const formats = new Map<string, Intl.DateTimeFormat>();

/** Formats when a window opens and closes, in local time. */
export function period(opensAt: number, closesAt: number, language: string): string {
  const format = formats.get(language) ?? new Intl.DateTimeFormat(localeOf(language), { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit' });
  formats.set(language, format);
  return format.formatRange(opensAt, closesAt);
}
