// The window of a leaderboard: when it opens and closes, and the way to the ones before and after it.
import type { BoardPage, Client, OpenBoard } from '@raidhall/client';
import { phaseOf, timeLeft } from '../boards';
import { useNow } from '../play/use-raid';
import { boardLink } from '../route';
import { useSettings } from '../settings';
import { period } from './dates';
import { useBoardsWords } from './words';

interface PeriodProps {
  client: Client;
  board: OpenBoard;
  page: BoardPage;
  /** Number of the window that is open. */
  open: number;
}

export function Period({ client, board: { id }, page, open }: PeriodProps) {
  const words = useBoardsWords();
  const { language } = useSettings();
  const now = useNow(client, 10_000);
  const { number, opens_at, closes_at } = page;
  const phase = phaseOf(page, now);
  if (opens_at === null || closes_at === null) return null;
  return (
    <div className="period">
      <p>
        <span data-phase={phase}>{phase === 'open' ? words.closesIn(timeLeft(closes_at - now)) : words.phases[phase]}</span>
        <small>{period(opens_at, closes_at, language)}</small>
      </p>
      <nav aria-label={words.windows}>
        <a href={boardLink(id, number - 1)}><span aria-hidden="true">← </span>{words.previousWindow}</a>
        {number < open && <a href={boardLink(id, number + 1 < open ? number + 1 : null)}>{words.nextWindow}<span aria-hidden="true"> →</span></a>}
      </nav>
    </div>
  );
}
