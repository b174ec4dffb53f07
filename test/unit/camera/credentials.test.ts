import { describe, expect, it } from 'vitest';
import { createRedactor, resolveCredentials } from '../../../src/camera/credentials.ts';

describe('createRedactor', () => {
  const redact = createRedactor({
    url: 'rtsp://me:se%40cret@h/a?token=abcdef1',
    username: null,
    password: 'pa ss',
  });

  it.each([
    ['rtsp://me:se%40cret@h/a', 'rtsp://***@h/***'],
    ['rtsp://me:se@cret@h/a', 'rtsp://***@h/***'],
    ['got "se@cret"', 'got "***"'],
    ['pa%20ss and pa ss', '*** and ***'],
    [`Basic ${Buffer.from('me:pa ss').toString('base64')}`, 'Basic ***'],
    ['opening http://h/x.ts?token=abcdef1&n=2', 'opening http://h/***'],
    ['token abcdef1', 'token ***'],
    ['nothing here', 'nothing here'],
  ])('redacts %j', (text, expected) => {
    expect(redact(text)).toBe(expected);
  });
});

describe('resolveCredentials', () => {
  it('prefers the settings to the URL, and decodes the URL', () => {
    const url = 'http://me:se%40cret@h/';
    expect(resolveCredentials({ url, username: null, password: null })).toEqual({
      username: 'me',
      password: 'se@cret',
    });
    expect(resolveCredentials({ url, username: 'you', password: 'other' })).toEqual({
      username: 'you',
      password: 'other',
    });
    expect(resolveCredentials({ url: null, username: null, password: null })).toEqual({
      username: '',
      password: '',
    });
  });
});
