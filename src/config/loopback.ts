const LOOPBACK = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1|\[::1\])$/i;

/** True for a host that only this machine can reach. */
export const isLoopback = (host: string): boolean => LOOPBACK.test(host);
