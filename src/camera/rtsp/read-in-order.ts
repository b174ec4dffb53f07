import type { Socket } from 'node:net';

/**
 * Handles the chunks of a socket one after the other. Reads the next one when the other side has taken what came of the one
 * before, so that at most one chunk of each direction is in memory, however fast a side sends.
 */
export function readInOrder(
  from: Socket,
  options: {
    readonly handle: (chunk: Buffer) => Promise<void>;
    /** The other side; null before it is connected. */
    readonly to: () => Socket | null;
    readonly fail: (failure: unknown) => void;
  },
): { readonly settled: () => Promise<void> } {
  const { handle, to, fail } = options;
  let work = Promise.resolve();
  from.on('data', (chunk: Buffer) => {
    from.pause();
    work = work
      .then(() => handle(chunk))
      .then(() => drained(to()))
      .then(() => void from.resume())
      .catch(fail);
  });
  return { settled: () => work };
}

/** Resolves when the socket takes more bytes, or takes none any more. */
function drained(socket: Socket | null): Promise<void> {
  if (socket?.writableNeedDrain !== true || socket.destroyed) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const settle = (): void => {
    socket.off('drain', settle);
    socket.off('close', settle);
    resolve(undefined);
  };
  socket.on('drain', settle);
  socket.on('close', settle);
  return promise;
}
