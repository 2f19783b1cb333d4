// The leaderboards: one window of one of them at a time, which the URL names.
import '../styles/boards.css';
import { RaidhallError } from '@raidhall/client';
import type { OpenBoard } from '@raidhall/client';
import { useEffect, useRef, useState } from 'react';
import type { Account } from '../account';
import { rowsOf } from '../boards';
import type { Part } from '../boards';
import { Period } from '../boards/period';
import { Rows } from '../boards/rows';
import { useBoard } from '../boards/use-board';
import { useBoards } from '../boards/use-boards';
import { VisibilityNote, VisibilitySetting } from '../boards/visibility';
import { useBoardsWords } from '../boards/words';
import { explain } from '../notices';
import { useTitle } from '../play/use-title';
import { boardLink } from '../route';
import { useSettings } from '../settings';

interface BoardsProps {
  account: Account;
  /** Null for the first leaderboard. */
  board: string | null;
  /** Null for the window that is open. */
  number: number | null;
}

export function Boards({ account, board: id, number }: BoardsProps) {
  const words = useBoardsWords();
  const { language } = useSettings();
  const { boards, error, retry } = useBoards(account.rest);
  const [part, setPart] = useState<Part>('all');
  /** What screen readers hear of a change that the player made. */
  const [said, say] = useState('');
  const board = id === null ? boards?.[0] : boards?.find(board => board.id === id);
  useTitle(board ? `${board.title[language]} · ${words.boards}` : words.boards);

  return (
    <section className="boards" aria-labelledby="boards">
      <h1 id="boards">{words.boards}</h1>
      {!boards && (error ? <Failure error={error} onRetry={retry} /> : <p className="panel dim" role="status">{words.loading}</p>)}
      {boards?.length === 0 && <p className="panel dim">{words.noBoards}</p>}
      {boards && boards.length > 0 && (
        <>
          <nav className="segments" aria-label={words.boards}>
            {boards.map(({ id, title }) => <a key={id} href={boardLink(id, null)} aria-current={id === board?.id ? 'page' : undefined}>{title[language]}</a>)}
          </nav>
          <VisibilityNote client={account.client} />
          {board ? <Board key={board.id} account={account} board={board} number={number} part={part} onPart={setPart} onSay={say} /> : <p className="panel" role="alert">{words.noBoard}</p>}
          <VisibilitySetting client={account.client} />
          <p className="unseen" role="status">{said}</p>
        </>
      )}
    </section>
  );
}

const PARTS: readonly Part[] = ['all', 'companions', 'around'];

interface BoardProps {
  account: Account;
  board: OpenBoard;
  number: number | null;
  part: Part;
  onPart: (part: Part) => void;
  onSay: (text: string) => void;
}

function Board({ account: { client, player, rest }, board, number, part, onPart, onSay }: BoardProps) {
  const words = useBoardsWords();
  const { language } = useSettings();
  const { shown, isCurrent, error, retry, more } = useBoard(rest, client, board.id, number, part);
  const [busy, setBusy] = useState(false);
  const title = board.title[language];
  useEffect(() => {
    if (shown && isCurrent) onSay(words.rowsShown(title, words.parts[part], rowsOf(shown).length));
    // Not for rows that change by themselves.
  }, [isCurrent, number, part]);
  const onMore = async (): Promise<void> => {
    setBusy(true);
    const count = await more();
    if (count !== null) onSay(words.rowsAdded(count));
    setBusy(false);
  };
  /** The open window, which may be later than the one of the list of leaderboards. */
  const latest = useRef(board.number);
  if (number === null && shown) latest.current = Math.max(latest.current, shown.first.number);
  const open = latest.current;
  const isRetried = !(error instanceof RaidhallError) || error.retry;
  const rows = shown && (isCurrent || error === null) ? rowsOf(shown) : null;
  return (
    <>
      <div className="segments" role="group" aria-label={words.partLabel}>
        {PARTS.map(one => <button key={one} type="button" aria-pressed={one === part} onClick={() => onPart(one)}>{words.parts[one]}</button>)}
      </div>
      {shown && (isCurrent || error === null) && <Period client={client} board={board} page={shown.first} open={open} />}
      {error !== null && (isCurrent && isRetried ? <p className="dim">{words.notUpToDate}</p> : <Failure error={error} gone={number === null ? words.noBoard : words.noWindow} onRetry={retry} />)}
      {!shown && error === null && <p className="panel dim" role="status">{words.loading}</p>}
      <div className="standing" aria-busy={!isCurrent}>
        {rows && rows.length > 0 && <Rows title={title} rows={rows} own={shown?.first.me ?? null} me={player.id} />}
        {rows?.length === 0 && <p className="panel dim">{shown && shown.first.number < open ? words.noScoresThen : words.noScores[part]}</p>}
      </div>
      {isCurrent && shown?.cursor && <button type="button" className="more" aria-disabled={busy} onClick={() => { if (!busy) void onMore(); }}>{words.more}</button>}
    </>
  );
}

function Failure({ error, gone, onRetry }: { error: unknown; gone?: string; onRetry: () => void }) {
  const words = useBoardsWords();
  const isGone = gone !== undefined && error instanceof RaidhallError && error.type === 'not_found';
  return (
    <div className="panel row">
      <p className="grow" role="alert">{isGone ? gone : explain(error)}</p>
      {!isGone && <button type="button" className="primary" onClick={onRetry}>{words.retryNow}</button>}
    </div>
  );
}
