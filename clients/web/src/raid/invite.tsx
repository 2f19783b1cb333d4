import { Suspense, useEffect, useState } from 'react';
import { Confirm, Dialog } from '../parts/dialog';
import { notify } from '../notices';
import { optional } from '../parts/optional';
import { inviteUrl } from '../route';
import { useWords } from '../settings';

const QrCode = optional(() => import('./qr-code'));

interface InviteProps {
  code: string;
  title: string;
  /** Replaces the code, or null if the player does not lead. */
  onReplace: (() => void) | null;
  onClose: () => void;
}

export function Invite({ code, title, onReplace, onClose }: InviteProps) {
  const words = useWords();
  const [copied, setCopied] = useState(false);
  const [replacing, setReplacing] = useState(false);
  useEffect(() => setCopied(false), [code]);
  const url = inviteUrl(code);
  const copy = (): void => {
    navigator.clipboard.writeText(url).then(() => setCopied(true), () => notify(words.copyFailed));
  };
  return (
    <Dialog title={words.inviteTitle} text={words.inviteHint} onClose={onClose}>
      <Suspense fallback={<div className="qr" />}><QrCode text={url} label={words.qr} /></Suspense>
      <p className="code big" data-invite={code}>{code}</p>
      <p><a href={url}>{url}</a></p>
      <div className="row end">
        {onReplace && <button type="button" className="quiet" onClick={() => setReplacing(true)}>{words.newInvite}</button>}
        {'share' in navigator && <button type="button" onClick={() => void navigator.share({ title, url }).catch(() => {})}>{words.share}</button>}
        {/* Browsers provide the clipboard only on HTTPS and localhost. */}
        {navigator.clipboard && <button type="button" className="primary" onClick={copy}>{copied ? words.copied : words.copy}</button>}
      </div>
      {replacing && onReplace && <Confirm question={words.newInviteConfirm} onYes={onReplace} onClose={() => setReplacing(false)} />}
    </Dialog>
  );
}
