import { describe, expect, it } from 'vitest';
import { matchesHost, parseHostPattern } from '../../../src/base/host-pattern.ts';

const matches = (text: string, header: string): boolean => {
  const pattern = parseHostPattern(text);
  if (!pattern) throw new Error(`${text} is no pattern`);
  return matchesHost(header, [pattern]);
};

describe('a pattern for hosts', () => {
  it.each([
    ['gauge.example.org', 'gauge.example.org'],
    ['gauge.example.org', 'GAUGE.example.org:8443'],
    ['Gauge.Example.org', 'gauge.example.org.'],
    ['gauge.example.org:8443', 'gauge.example.org:8443'],
    ['*.example.org', 'gauge.example.org'],
    ['*.example.org', 'a.b.example.org:80'],
    ['*.example.org:8443', 'gauge.example.org:8443'],
    ['*.local', 'pi.local'],
    ['*.home.arpa', 'pi.home.arpa'],
    ['pi', 'pi:8080'],
    ['wellenhöhe.example', new URL('http://wellenhöhe.example').host],
    ['192.168.1.5', '192.168.1.5:8080'],
    ['[fd00::1]', '[fd00::1]:8080'],
    ['[fd00::1]:8080', '[fd00::1]:8080'],
  ])('%s matches %s', (text, header) => {
    expect(matches(text, header)).toBe(true);
  });

  it.each([
    ['gauge.example.org', 'evil.example'],
    ['gauge.example.org', 'gauge.example.org.evil.example'],
    ['gauge.example.org', 'xgauge.example.org'],
    ['gauge.example.org', 'a.gauge.example.org'],
    ['gauge.example.org', 'gauge.example.org@evil.example'],
    ['gauge.example.org', 'evil.example:80:gauge.example.org'],
    ['gauge.example.org', 'gauge.example.org:x'],
    ['gauge.example.org', ''],
    ['gauge.example.org:8443', 'gauge.example.org'],
    ['gauge.example.org:8443', 'gauge.example.org:8444'],
    ['*.example.org', 'example.org'],
    ['*.example.org', 'evilexample.org'],
    ['*.local', 'local'],
  ])('%s does not match %s', (text, header) => {
    expect(matches(text, header)).toBe(false);
  });

  it.each([
    ...['*', '*.*', '*.com', '*.org:443', 'gauge.*', '**.example.org', '*example.org', 'a.*.org'],
    ...['https://gauge.example.org', 'gauge.example.org/api', 'user@gauge.example.org', 'a b', ''],
    ...['gauge.example.org:99999', 'gauge.example.org:', 'fd00::1', '*.192.168.1.5', 'a.example.org,b'],
  ])('%s is none', (text) => {
    expect(parseHostPattern(text)).toBeNull();
  });
});
