/** Sends one datagram; false when it could not be sent. Never blocks. */
export interface NotifySocket {
  send(text: string): boolean;
  close(): void;
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sun_path of struct sockaddr_un. */
const MAX_PATH_BYTES = 108;

/**
 * A Unix datagram socket to the service manager, by libc: Node itself has none. `address` is the value of
 * NOTIFY_SOCKET: a path, or with a leading `@` a name in the abstract namespace. Null where it cannot be opened.
 * Source: sd_notify(3), unix(7).
 */
export async function openNotifySocket(address: string): Promise<NotifySocket | null> {
  const target = socketAddress(address);
  if (target === null || process.platform !== 'linux') return null;
  const { default: koffi } = await import('koffi');
  const libc = koffi.load(null);
  const socket = libc.func('int socket(int, int, int)') as (...args: number[]) => number;
  const close = libc.func('int close(int)') as (fd: number) => number;
  const sendto = libc.func('long sendto(int, void*, size_t, int, void*, uint32_t)') as (
    fd: number,
    data: Buffer,
    size: number,
    flags: number,
    to: Buffer,
    toSize: number,
  ) => number;
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return null;
  return {
    send: (text) => {
      const data = Buffer.from(text);
      return (
        sendto(fd, data, data.length, MSG_DONTWAIT | MSG_NOSIGNAL, target, target.length) === data.length
      );
    },
    close: () => void close(fd),
  };
}

/** struct sockaddr_un, cut to the length that counts: of an abstract name every byte does. */
function socketAddress(address: string): Buffer | null {
  if (!/^[/@]./.test(address)) return null;
  const path = address.startsWith('@') ? Buffer.from(`\0${address.slice(1)}`) : Buffer.from(`${address}\0`);
  if (path.length > MAX_PATH_BYTES) return null;
  const family = Buffer.alloc(2);
  if (new Uint8Array(new Uint16Array([AF_UNIX]).buffer)[0] === AF_UNIX) family.writeUInt16LE(AF_UNIX);
  else family.writeUInt16BE(AF_UNIX);
  return Buffer.concat([family, path]);
}
