// The shop: items by the slot that they are worn in. An item shows as bought or worn once the server
// says so.
import type { PlayerCommand, PlayerStream, Progression, ShopItem, WatchedPlayer } from '@raidhall/client';
import { complain } from '../notices';
import { Avatar } from '../parts/avatar';
import Icon from '../parts/icon';
import { useSettings } from '../settings';
import type { ShownProfile } from './shown';
import { useProfileWords } from './words';

interface ShopProps {
  state: ShownProfile;
  /** The player's commands that `state` does not show yet. */
  pending: WatchedPlayer['pending'];
  /** Null if nothing can be bought now. */
  me: PlayerStream | null;
  progression: Progression;
}

export function Shop({ state, pending, me, progression: { items, coins } }: ShopProps) {
  const words = useProfileWords();
  const slots = [...new Set(items.map(({ slot }) => slot))];
  const isPending = (type: PlayerCommand['type'], { id }: ShopItem): boolean => pending.some(({ cmd }) => cmd.type === type && 'item' in cmd && cmd.item === id);
  const spent = items.filter(item => isPending('buy', item)).reduce((sum, { price }) => sum + price, 0);
  return (
    <section className="panel shop" aria-labelledby="shop">
      <div className="row"><h2 id="shop" className="grow">{words.shop}</h2><span className="coins"><Icon name="coin" />{words.coinsAre(state.coins)}</span></div>
      <p className="dim">{words.howToEarn(coins.xp_per_coin, coins.level, coins.victory)}</p>
      {slots.map(slot => (
        <div key={slot}>
          <h3>{words.slotName[slot] ?? slot}</h3>
          <ul>
            {items.filter(item => item.slot === slot).map(item => (
              <Item key={item.id} item={item} state={state} me={me} missing={item.price - (state.coins - spent)} busy={isPending('buy', item) || isPending('equip', item)} />
            ))}
          </ul>
        </div>
      ))}
    </section>
  );
}

/** One button first buys and then equips the item, so that it keeps the focus. */
function Item({ item, state, me, missing, busy }: { item: ShopItem; state: ShownProfile; me: PlayerStream | null; missing: number; busy: boolean }) {
  const words = useProfileWords();
  const { language } = useSettings();
  const { id, slot, price } = item;
  const name = item[language];
  const owned = state.items.includes(id);
  const worn = state.equipped[slot] === id;
  const disabled = me === null || busy || worn || (!owned && missing > 0);
  const action = worn ? words.equipped : owned ? words.equip : words.buy;
  const give = (): void => {
    if (!disabled) (owned ? me.equip(id) : me.buy(id)).catch(complain);
  };
  return (
    <li className={`item ${owned ? 'owned' : ''}`} data-item={id}>
      {slot === 'frame' ? <Avatar player={state.id} name={state.name} frame={id} /> : <Icon name="bag" />}
      <div className="grow">
        <b>{name}</b>
        {!owned && <small id={`price-${id}`}><span className="price">{words.coinsAre(price)}</span>{missing > 0 && !busy && <span className="missing"> {words.coinsMissing(missing)}</span>}</small>}
      </div>
      <button type="button" className={owned ? '' : 'primary'} aria-label={`${action}: ${name}`} aria-describedby={owned ? undefined : `price-${id}`} aria-disabled={disabled} onClick={give}>
        {busy ? words.sending : action}
      </button>
    </li>
  );
}
