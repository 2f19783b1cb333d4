// How many notifications are unread, and the way to them.
import type { Client } from '@raidhall/client';
import { useMe } from '@raidhall/client/react';
import { Suspense } from 'react';
import { unreadOf } from '../inbox';
import { goToInbox, useRoute } from '../route';
import { useWords } from '../settings';
import { optional } from './optional';

const Icon = optional(() => import('./icon'));

export function InboxButton({ client }: { client: Client }) {
  const words = useWords();
  const isCurrent = useRoute().at === 'inbox';
  return (
    <button type="button" className="quiet icon to-page" aria-current={isCurrent ? 'page' : undefined} popoverTarget="tools" popoverTargetAction="hide" onClick={goToInbox}>
      {/* As the button's own title, screen readers would read it after the name. */}
      <span aria-hidden="true" title={words.inbox}><Suspense fallback={<span className="icon-of" />}><Icon name="bell" /></Suspense></span>
      <Unread client={client} name={words.inbox} />
    </button>
  );
}

/** The name of a button that leads to the inbox, with the number of unread notifications. */
export function Unread({ client, name }: { client: Client; name: string }) {
  const words = useWords();
  const count = unreadOf(useMe(client).state?.inbox).length;
  return (
    <>
      <span className="unseen">{name}{count > 0 && `, ${words.unreadNotifications(count)}`}</span>
      {count > 0 && <span className="badge" aria-hidden="true">{count}</span>}
    </>
  );
}
