import { describe, expect, it } from 'vitest';
import { AgentError } from '../../../../src/base/errors.ts';
import {
  brokerName,
  connectFailure,
  HungUpError,
  publishFailure,
} from '../../../../src/mqtt/link/failures.ts';

const withCode = (code: number | string): Error => Object.assign(new Error('e'), { code });

describe('connectFailure', () => {
  it('classifies the errors of brokers, of TLS and of the network', () => {
    const kindOf = (thrown: unknown): string => connectFailure(thrown, 'mqtt://h:1').kind;
    for (const code of [
      4,
      5,
      134,
      135,
      'CERT_HAS_EXPIRED',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ])
      expect(kindOf(withCode(code))).toBe('refused');
    for (const code of [1, 132]) expect(kindOf(withCode(code))).toBe('version');
    // For a board whose clock is not set yet, a valid certificate is not valid yet.
    for (const code of ['CERT_NOT_YET_VALID', 'ECONNREFUSED', 'ENOTFOUND', 3, 136])
      expect(kindOf(withCode(code))).toBe('unreachable');
    for (const code of [137, 147, 151, 159]) expect(kindOf(withCode(code))).toBe('busy');
    for (const code of [156, 157]) expect(kindOf(withCode(code))).toBe('moved');
    for (const thrown of [
      withCode('ECONNRESET'),
      withCode('EPIPE'),
      withCode(128),
      withCode(131),
      new HungUpError('x'),
    ])
      expect(kindOf(thrown)).toBe('hung_up');
  });

  it('names the reason when the broker does not support QoS 1', () => {
    const { kind, error } = connectFailure(withCode(155), 'mqtt://h:1');
    expect([kind, error.code, error.message]).toEqual([
      'refused',
      'mqtt_refused',
      expect.stringContaining('QoS 0 only'),
    ]);
  });

  it('keeps the code of an AgentError', () => {
    const { error } = connectFailure(new AgentError('mqtt_timeout', 't'), 'mqtt://h:1');
    expect(error.code).toBe('mqtt_timeout');
  });
});

describe('publishFailure', () => {
  it('distinguishes temporary refusals from final ones', () => {
    const codeOf = (thrown: unknown): string => publishFailure(thrown, 't').code;
    for (const code of [128, 131, 151]) expect(codeOf(withCode(code))).toBe('mqtt_busy');
    for (const code of [135, 144, 153]) expect(codeOf(withCode(code))).toBe('mqtt_publish_refused');
    expect(codeOf(withCode(149))).toBe('mqtt_too_large');
    expect(codeOf(new Error('client disconnecting'))).toBe('mqtt_unreachable');
  });
});

describe('brokerName', () => {
  it('contains host and port, but no credentials', () => {
    expect(brokerName('mqtts://user:secret@example.org')).toBe('example.org:8883');
    expect(brokerName('mqtt://10.0.0.1:1999')).toBe('10.0.0.1:1999');
    expect(brokerName('mqtt://[::1]')).toBe('[::1]:1883');
    expect(brokerName('no address')).toBe('?');
  });
});
