import Icon from '../parts/icon';
import { cardEn } from '../i18n/card-en';
import { cardRu } from '../i18n/card-ru';
import { useSettings } from '../settings';

const languages = { en: cardEn, ru: cardRu };

/** The days of a player's streak, in a line that is there without it. */
export default function StreakDays({ days }: { days: number }) {
  const words = languages[useSettings().language];
  const text = words.streakOf(days);
  return <span className="streak-of" title={text}><Icon name="phoenix" /><span aria-hidden="true">{words.number(days)}</span><span className="unseen">{text}</span></span>;
}
