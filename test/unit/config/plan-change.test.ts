import { describe, expect, it } from 'vitest';
import { useConfiguredDevice } from '../../fixtures/configured-device.ts';

const device = useConfiguredDevice();

describe('a change', () => {
  it('has values that equal the local ones: they are stored only after a confirmation', async () => {
    const configuration = device.start();
    const { answer, begin } = configuration.set({ logLevel: 'info' }, 20);
    expect(answer).toMatchObject({ trial: expect.any(String) as string, changed: [] });
    begin();
    await device.clock.pass(21_000);
    expect(configuration.view().overlay).toEqual({});
    device.writeFile({ logLevel: 'warn' });
    expect(device.start().settings.logLevel).toBe('warn');
  });

  it('has a secret: the answer does not tell whether it equals the present one', () => {
    device.writeFile({
      cameras: [
        { id: 'north', kind: 'http', url: 'http://cam.example/path-key', headers: { 'X-Key': 'header-key' } },
      ],
      mqtt: { url: 'mqtt://a.example', username: 'user', password: 'hunter2' },
    });
    const answerTo = (patch: object): object => {
      const { trial, confirm_by, ...answer } = device.start().set(patch, 60).answer;
      expect([trial, confirm_by]).toEqual([expect.any(String), expect.any(String)]);
      return answer;
    };
    const camera = (keys: object): object => ({ cameras: [{ id: 'north', ...keys }] });
    for (const [right, wrong, changed] of [
      [{ mqtt: { password: 'hunter2' } }, { mqtt: { password: 'hunter3' } }, 'mqtt.password'],
      [{ mqtt: { username: 'user' } }, { mqtt: { username: 'root' } }, 'mqtt.username'],
      [
        camera({ url: 'http://cam.example/path-key' }),
        camera({ url: 'http://cam.example/other' }),
        'cameras.north.url',
      ],
    ] as const) {
      expect(answerTo(right)).toMatchObject({ changed: [changed] });
      if (changed !== 'cameras.north.url') expect(answerTo(right)).toEqual(answerTo(wrong));
      else expect(answerTo(wrong)).toMatchObject({ changed: [changed, 'cameras.north.headers'] });
    }
  });
});
