// The texts of the leaderboards' page, in English. They are loaded with the page.
import type { Part, Phase } from '../boards';
import { many, n } from './en';

interface Left {
  readonly days: number;
  readonly hours: number;
  readonly minutes: number;
}

export const boardsEn = {
  parts: { all: 'All', companions: 'Companions', around: 'Around me' } as Record<Part, string>,
  partLabel: 'Players to show',
  rankTitle: 'Rank',
  playerTitle: 'Player',
  scoreTitle: 'Score',
  rankNumber: (rank: number) => `#${n(rank)}`,
  score: (score: number) => `${n(score)} XP`,
  you: 'you',
  youAre: (rank: number) => `You: #${n(rank)}`,
  previousWindow: 'Previous',
  nextWindow: 'Next',
  windows: 'Other periods',
  closesIn: ({ days, hours, minutes }: Left) => `closes in ${days > 0 ? `${n(days)} d ${hours} h` : hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min`}`,
  phases: { open: 'Open', counting: 'Results are being counted', final: 'Final results' } as Record<Phase, string>,
  noBoards: 'There are no leaderboards.',
  noScores: { all: 'No scores yet. Earn XP in a raid to be the first.', companions: 'Your companions have no scores yet. Players who finish a raid together are companions.', around: 'No scores yet. Earn XP in a raid to be the first.' } as Record<Part, string>,
  noScoresThen: 'There were no scores.',
  noBoard: 'There is no such leaderboard.',
  noWindow: 'There is no such period.',
  notUpToDate: 'Not up to date. Trying again…',
  rowsShown: (board: string, part: string, count: number) => `${board}, ${part}: ${many(count, 'player', 'players')}`,
  rowsAdded: (count: number) => `${many(count, 'more player', 'more players')}`,
  visibility: 'Who can see you here',
  visibilities: { public: 'All players', companions: 'Only companions', hidden: 'No one' },
  notListed: { companions: 'Only your companions see you on leaderboards.', hidden: 'You are hidden on leaderboards.' },
  changeVisibility: 'Change',
};

export type BoardsTexts = typeof boardsEn;
