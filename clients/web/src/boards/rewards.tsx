import { rewardRanks } from '../boards';
import type { BoardReward } from '../boards';
import { useBoardsWords } from './words';

export function BoardRewards({ reward }: { reward: readonly BoardReward[] }) {
  const words = useBoardsWords();
  return (
    <section className="panel board-rewards" aria-labelledby="board-rewards">
      <h2 id="board-rewards">{words.rewards}</h2>
      <ul>{rewardRanks(reward).map(({ from, to, coins }) => <li key={to}><span>{words.rewardRanks(from, to)}</span><span>{words.coinsOf(coins)}</span></li>)}</ul>
    </section>
  );
}
