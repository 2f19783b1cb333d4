// The texts of the profile page, in English. They are loaded with the page.
import { many, n } from './en';

export const profileEn = {
  profile: 'My profile',
  toNextLevel: (xp: number, level: number) => `${n(xp)} XP to level ${n(level)}`,
  coins: 'Coins',
  countedXp: 'XP that counts',
  raidsWon: 'Raids won',
  tasksDone: 'Tasks done',
  number: n,
  countOf: (count: number, total: number) => `${n(count)} of ${n(total)}`,
  allXp: (earned: number, casual: number, ranked: number) =>
    `You’ve earned ${n(earned)} XP in all. Each day, up to ${n(casual)} XP from tasks counts, plus up to ${n(ranked)} XP from tasks in ranked raids.`,
  streak: 'Streak',
  bestStreak: (count: number) => `Best: ${many(count, 'day', 'days')}`,
  streakLasts: (until: string) => `Earn XP in a raid before ${until} to keep it.`,
  noStreak: 'Earn XP in a raid to start a streak, then every day to keep it going.',
  freezesAre: (count: number) => (count === 1 ? '1 freeze: it covers one missed day.' : `${n(count)} freezes: each covers one missed day.`),
  repairable: (until: string) => `You can repair your lost streak until ${until}.`,
  repairFor: (cost: number) => (cost === 0 ? 'Repair' : `Repair for ${many(cost, 'coin', 'coins')}`),
  skills: 'Skills',
  skillName: { teamwork: 'Teamwork', discipline: 'Discipline', strength: 'Strength', wisdom: 'Wisdom', focus: 'Focus' } as Readonly<Record<string, string>>,
  noSkills: 'No skills yet. Complete a task in a raid to train your first one.',
  skillXp: (xp: number) => `${n(xp)} XP`,
  achievements: 'Achievements',
  noAchievements: 'None yet. Earn XP in a raid to unlock your first one.',
  goRaiding: 'Go to my raids',
  tierOf: (tier: number, tiers: number) => `Tier ${n(tier)} of ${n(tiers)}`,
  unlocked: 'Unlocked',
  shop: 'Shop',
  coinsAre: (count: number) => many(count, 'coin', 'coins'),
  howToEarn: (xp: number, level: number, victory: number) => `You get 1 coin for every ${n(xp)} XP that counts, ${n(level)} for each level, and ${n(victory)} for each victory.`,
  slotName: { frame: 'Frames', title: 'Titles' } as Readonly<Record<string, string>>,
  buy: 'Buy',
  coinsMissing: (count: number) => `You need ${n(count)} more.`,
  equip: 'Equip',
  equipped: 'Equipped',
  progressionNotLoaded: 'Couldn’t load the achievements and the shop.',
  offlineProfile: 'You’re offline. Your profile will appear when you reconnect.',
};

export type ProfileTexts = typeof profileEn;
