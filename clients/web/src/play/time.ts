import type { Words } from '../i18n/en';

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
