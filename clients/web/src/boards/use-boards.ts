import type { OpenBoard, Rest } from '@raidhall/client';
import { useCallback, useEffect, useState } from 'react';

/** Reads the leaderboards when the component appears, and again with `retry`; null until they are known. */
export function useBoards(rest: Rest): { readonly boards: readonly OpenBoard[] | null; readonly error: unknown; readonly retry: () => void } {
  const [boards, setBoards] = useState<readonly OpenBoard[] | null>(null);
  const [error, setError] = useState<unknown>(null);
  const retry = useCallback(() => {
    setError(null);
    rest.boards().then(setBoards, setError);
  }, [rest]);
  useEffect(retry, [retry]);
  return { boards, error, retry };
}
