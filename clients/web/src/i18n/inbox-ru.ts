import type { InboxTexts } from './inbox-en';
import { many } from './ru';

export const inboxRu: InboxTexts = {
  noNotifications: 'Уведомлений пока нет.',
  isNew: 'Новое',
  openLink: 'Открыть',
  openSite: host => `Открыть ${host}`,
  inNewTab: 'в новой вкладке',
  streakAtRisk: days => (days === null ? 'Серия вот-вот прервётся' : `Серия вот-вот прервётся: ${many(days, 'день', 'дня', 'дней')}`),
  keepStreak: until => `Чтобы сохранить её, заработайте XP в рейде до ${until}.`,
  offlineInbox: 'Нет сети. Уведомления появятся, когда вернётся связь.',
};
