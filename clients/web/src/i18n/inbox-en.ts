// The texts of the inbox page, in English. They are loaded with the page.
import { n } from './en';

export const inboxEn = {
  noNotifications: 'No notifications yet.',
  isNew: 'New',
  openLink: 'Open',
  openSite: (host: string) => `Open ${host}`,
  inNewTab: 'in a new tab',
  streakAtRisk: (days: number | null) => (days === null ? 'Your streak is at risk' : `Your ${n(days)}-day streak is at risk`),
  keepStreak: (until: string) => `Earn XP in a raid before ${until} to keep it.`,
  offlineInbox: 'You’re offline. Your notifications will appear when you reconnect.',
};

export type InboxTexts = typeof inboxEn;
