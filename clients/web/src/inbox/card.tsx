// One notification: its text, how old it is, and where it leads.
import { textOf } from '../inbox';
import type { Notification } from '../inbox';
import { timeOfDay } from '../play/time';
import { useSettings } from '../settings';
import { ago } from './ago';
import { linkOf } from './link';
import { textsOf } from './texts';
import { useInboxWords } from './words';

interface CardProps {
  item: Notification;
  /** Whether it was unread when the page was opened. */
  isNew: boolean;
  now: number;
}

export function Card({ item, isNew, now }: CardProps) {
  const words = useInboxWords();
  const { language } = useSettings();
  const { title, body } = textsOf(item, words, language, now);
  const link = linkOf(textOf(item, 'url'), location.origin);
  const id = `notification-${item.seq}`;
  return (
    <li className={`notification ${isNew ? 'new' : ''}`} data-notification={item.seq}>
      <div className="row"><h2 id={id} className="grow" dir="auto">{title}</h2>{isNew && <span className="tag">{words.isNew}</span>}</div>
      {body && <p dir="auto">{body}</p>}
      <div className="row">
        <small><time dateTime={new Date(item.at).toISOString()} title={timeOfDay(item.at, language, now)}>{ago(item.at, language, now)}</time></small>
        {link?.host === null && <a className="link" href={link.href} aria-describedby={id}>{words.openLink}</a>}
        {link?.host && <a className="link" href={link.href} target="_blank" rel="noopener noreferrer" aria-describedby={id}>{words.openSite(link.host)} <span aria-hidden="true">↗</span><span className="unseen">({words.inNewTab})</span></a>}
      </div>
    </li>
  );
}
