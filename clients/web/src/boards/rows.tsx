// The rows of a leaderboard as a table. The player's own row is marked, or stands below it.
import type { BoardEntry, PlayerId } from '@raidhall/client';
import { memo } from 'react';
import { Avatar } from '../parts/avatar';
import { useBoardsWords } from './words';

interface RowsProps {
  title: string;
  rows: readonly BoardEntry[];
  /** The player's own place, null if there is none. */
  own: BoardEntry | null;
  me: PlayerId;
}

export function Rows({ title, rows, own, me }: RowsProps) {
  const words = useBoardsWords();
  const isListed = rows.some(({ player }) => player.id === me);
  return (
    <div className="panel">
      <table>
        <caption className="unseen">{title}</caption>
        <thead><tr><th scope="col">{words.rankTitle}</th><th scope="col">{words.playerTitle}</th><th scope="col" className="of-score">{words.scoreTitle}</th></tr></thead>
        <tbody>{rows.map(entry => <Row key={entry.player.id} entry={entry} isMine={entry.player.id === me} />)}</tbody>
      </table>
      {own && !isListed && <p className="own-place"><b>{words.youAre(own.rank)}</b><span>{words.score(own.score)}</span></p>}
    </div>
  );
}

const Row = memo(function Row({ entry: { rank, player, score }, isMine }: { entry: BoardEntry; isMine: boolean }) {
  const words = useBoardsWords();
  const { id, name, level, frame } = player;
  return (
    <tr className={isMine ? 'mine' : ''} data-player={id}>
      <td className="of-rank">{words.rankNumber(rank)}</td>
      <th scope="row">
        <span className="player">
          <Avatar player={id} name={name} frame={frame ?? undefined} />
          <span className="grow"><bdi>{name}</bdi>{isMine && <small> ({words.you})</small>}<small className="of-level">{words.levelIs(level)}</small></span>
        </span>
      </th>
      <td className="of-score">{words.score(score)}</td>
    </tr>
  );
}, (before, now) => before.isMine === now.isMine && JSON.stringify(before.entry) === JSON.stringify(now.entry));
