import { useEffect, useState } from 'react';
import { encode } from 'uqr';
import { Confirm, Dialog } from '../parts/dialog';
import { notify } from '../notices';
import { inviteUrl } from '../route';
import { useWords } from '../settings';

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
      <QrCode text={url} label={words.qr} />
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

function QrCode({ text, label }: { text: string; label: string }) {
  const { data, size } = encode(text, { border: 2 });
  const path = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ''))).join('');
  return (
    <svg className="qr" role="img" aria-label={label} viewBox={`0 0 ${size} ${size}`} shapeRendering="crispEdges">
      <rect width={size} height={size} fill="#fff" /><path d={path} fill="#15111c" />
    </svg>
  );
}
