import { describe, expect, it } from 'vitest';
import { brokerLogin } from '../../../src/mqtt/broker-login.ts';

const NONE = { username: null, password: null };

describe('brokerLogin', () => {
  it.each([
    ['mqtt://user:pass@host', 'mqtt://host', 'user', 'pass'],
    ['mqtt://us%3Aer:pa%3Ass@host:1884', 'mqtt://host:1884', 'us:er', 'pa:ss'],
    ['mqtt://a%40b.org:p%40ss@host', 'mqtt://host', 'a@b.org', 'p@ss'],
    ['mqtts://u:%2F%3F%23%25@host/', 'mqtts://host/', 'u', '/?#%'],
    ['mqtt://u:p@ss@host', 'mqtt://host', 'u', 'p@ss'],
    ['mqtt://u:p:ss@host', 'mqtt://host', 'u', 'p:ss'],
    ['mqtt://u:100%@host', 'mqtt://host', 'u', '100%'],
    ['mqtt://jos%C3%A9:gr%C3%BC%C3%9Fe@host', 'mqtt://host', 'josé', 'grüße'],
    ['mqtt://user@host', 'mqtt://host', 'user', null],
    ['wss://u:p@host/mqtt?token=1', 'wss://host/mqtt?token=1', 'u', 'p'],
    ['mqtt://u:p@[::1]:1883', 'mqtt://[::1]:1883', 'u', 'p'],
  ])('decodes the parts of %s', (address, url, username, password) => {
    const others = { username: 'other', password: 'other' };
    expect(brokerLogin(address, others)).toEqual({ url, username, password });
  });

  it.each(['mqtt://host', 'mqtts://host:8883', 'ws://host/mqtt'])('leaves %s as it is', (address) => {
    expect(brokerLogin(address, NONE)).toEqual({ url: address, ...NONE });
    const others = { username: 'user', password: 'pass' };
    expect(brokerLogin(address, others)).toEqual({ url: address, ...others });
  });
});
