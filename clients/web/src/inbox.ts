// Which notifications of the player's inbox the app shows. Pure.
import type { Inbox, InboxItem } from '@raidhall/client';

/** A notification as this browser may keep it. */
export type Notification = Pick<InboxItem, 'seq' | 'at' | 'kind' | 'data' | 'read'>;

/** Returns a text in the data of a notification; empty if there is none. */
export function textOf({ data }: Pick<InboxItem, 'data'>, name: 'title' | 'body' | 'url'): string {
  const text = (data as Partial<Record<typeof name, unknown>> | null)?.[name];
  return typeof text === 'string' ? text.trim() : '';
}

/** Returns whether the app has a text for a notification: its own title, or that of a known kind. */
export const isShown = (item: InboxItem): boolean => item.kind === 'streak_at_risk' || textOf(item, 'title') !== '';

/** Returns the unread notifications that the app shows. Others are not counted: no page has them. */
export const unreadOf = (inbox: Inbox | undefined): readonly InboxItem[] => inbox?.items.filter(item => !item.read && isShown(item)) ?? [];
