import type { InboxTexts } from '../i18n/inbox-en';
import { textOf } from '../inbox';
import type { Notification } from '../inbox';
import { timeOfDay } from '../play/time';

/** Returns the texts of a notification: its own, or those of its kind. The body may be empty. */
export function textsOf(item: Notification, words: InboxTexts, language: string, now: number): { readonly title: string; readonly body: string } {
  const title = textOf(item, 'title');
  if (title || item.kind !== 'streak_at_risk') return { title, body: textOf(item, 'body') };
  const { days, lapses_at } = Object(item.data) as { days?: unknown; lapses_at?: unknown };
  return {
    title: words.streakAtRisk(typeof days === 'number' ? days : null),
    body: typeof lapses_at === 'number' && lapses_at > now ? words.keepStreak(timeOfDay(lapses_at, language, now)) : '',
  };
}
