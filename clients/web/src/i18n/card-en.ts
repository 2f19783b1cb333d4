// The texts of players' cards in a raid, in English. They are loaded with the cards' details.
import { n } from './en';

export const cardEn = {
  number: n,
  streakOf: (days: number) => `${n(days)}-day streak`,
};

export type CardTexts = typeof cardEn;
