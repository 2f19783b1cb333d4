import type { CardTexts } from './card-en';
import { many, n } from './ru';

export const cardRu: CardTexts = {
  number: n,
  streakOf: days => `Серия: ${many(days, 'день', 'дня', 'дней')}`,
};
