import Database from 'better-sqlite3';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reasonsOf, RunningAgent } from '../fixtures/agent.ts';
import { httpServer, type TestServer } from '../fixtures/camera-server.ts';
import { Mosquitto, type Message } from '../fixtures/mosquitto.ts';
import { Recorder } from '../fixtures/recorder.ts';
import { RtspServer } from '../fixtures/rtsp.ts';
import { surfcamDir } from '../fixtures/surfcam.ts';

const frames = surfcamDir();
const MIN_OBSERVATIONS = 4;

/** Real beach frames through an RTSP server, an HTTP snapshot and a directory; a broker with TLS and passwords. */
describe.skipIf(frames === null)(
  'Agent with three cameras that show real beach frames (needs the frames)',
  () => {
    const dir = mkdtempSync(join(tmpdir(), 'swellsight-real-'));
    let broker: Mosquitto;
    let rtsp: RtspServer;
    let snapshots: TestServer;
    let agent: RunningAgent;
    let recorder: Recorder;
    let messages: readonly Message[];

    beforeAll(async () => {
      const source = join(frames ?? '', 'frames');
      const files = readdirSync(source).sort();
      const select = (from: number, count: number): string[] => files.slice(from, from + count);
      const clip = join(dir, 'clip');
      const directory = join(dir, 'directory');
      for (const path of [clip, directory]) mkdirSync(path);
      for (const name of select(60, 12)) symlinkSync(join(source, name), join(clip, name));
      for (const name of select(200, 12))
        writeFileSync(join(directory, name), readFileSync(join(source, name)));
      let servedCount = 0;
      const images = select(120, 20).map((name) => readFileSync(join(source, name)));
      snapshots = await httpServer((request, response) => {
        const credentials = `Basic ${Buffer.from('cam:s3cret').toString('base64')}`;
        if (request.headers.authorization !== credentials) {
          response.writeHead(401, { 'www-authenticate': 'Basic realm="cam"' }).end();
          return;
        }
        response.writeHead(200, { 'content-type': 'image/jpeg' }).end(images[servedCount++ % images.length]);
      });
      rtsp = await RtspServer.start({
        dir: clip,
        fps: 5,
        hold: 5,
        size: { width: 1280, height: 720 },
        credentials: { username: 'viewer', password: 'w4ves' },
      });
      broker = await Mosquitto.start({ tls: true, users: { device: 'from a file', dashboard: 'd' } });
      recorder = await Recorder.start(broker.url, {
        username: 'dashboard',
        password: 'd',
        ca: broker.ca ?? '',
      });
      messages = recorder.messages;
      writeFileSync(join(dir, 'password'), 'from a file\n');
      writeFileSync(join(dir, 'ca.pem'), broker.ca ?? '');
      const schedule = { everyS: 3 };
      const burst = { frames: 2, intervalS: 1 };
      agent = await RunningAgent.start({
        mqtt: {
          url: broker.url,
          username: 'device',
          password_file: join(dir, 'password'),
          ca: join(dir, 'ca.pem'),
        },
        heartbeat: { intervalS: 5 },
        cameras: [
          { id: 'rtsp', kind: 'rtsp', url: rtsp.url, username: 'viewer', password: 'w4ves', schedule, burst },
          {
            id: 'http',
            kind: 'http',
            url: `${snapshots.url}/snapshot.jpg`,
            username: 'cam',
            password: 's3cret',
            schedule,
            burst,
          },
          { id: 'directory', kind: 'directory', path: directory, replay: 'loop', schedule, burst },
        ],
      });
      for (const camera of ['rtsp', 'http', 'directory'])
        await agent.observation(
          (line) => line['camera'] === camera && Number(line['seq']) >= MIN_OBSERVATIONS,
          60_000,
        );
    }, 240_000);

    afterAll(async () => {
      await agent[Symbol.asyncDispose]();
      await Promise.all([rtsp.stop(), snapshots.stop(), broker.stop()]);
      rmSync(dir, { recursive: true, force: true });
    });

    it('measures frames of every camera', () => {
      for (const camera of ['rtsp', 'http', 'directory']) {
        const lines = agent.lines.filter((line) => line.msg === 'observation' && line['camera'] === camera);
        const statuses = lines.map((line) => `${String(line['status'])} ${reasonsOf(line)}`);
        expect(
          statuses.filter((status) => /measured|rejected/.test(status)).length,
          `${camera}: ${statuses.join('; ')}`,
        ).toBeGreaterThanOrEqual(MIN_OBSERVATIONS - 1);
      }
    });

    it('stores in SQLite the same records that the subscriber received', async () => {
      await agent.stop();
      const db = new Database(join(agent.stateDir, 'var', 'swellsight.db'), { readonly: true });
      const rows = db.prepare('SELECT payload FROM observations').all() as { payload: string }[];
      const waiting = db.prepare('SELECT count(*) AS n FROM outbox').get() as { n: number };
      db.close();
      const stored = new Map(
        rows.map(({ payload }) => JSON.parse(payload) as { id: string }).map((record) => [record.id, record]),
      );
      const received = messages
        .filter(({ topic }) => /\/(observation|backfill)$/.test(topic))
        .map(
          ({ payload }) =>
            JSON.parse(payload.toString()) as { id: string; published_at: string; historical: boolean },
        );
      expect(received.length).toBeGreaterThanOrEqual(3 * MIN_OBSERVATIONS);
      expect(stored.size - waiting.n).toBeLessThanOrEqual(new Set(received.map(({ id }) => id)).size);
      for (const message of received) {
        const record = stored.get(message.id);
        expect({ ...record, published_at: null, historical: false }).toEqual({
          ...message,
          published_at: null,
          historical: false,
        });
      }
      console.log(
        `${stored.size} records in SQLite, ${received.length} messages received, ${waiting.n} waiting at the stop`,
      );
    });

    it('sends messages that match the contract, and no secret', () => {
      recorder.finish();
      const output = agent.raw.join('\n') + messages.map(({ payload }) => payload.toString()).join('\n');
      for (const secret of ['w4ves', 's3cret', 'from a file']) expect(output).not.toContain(secret);
    });

    it('numbers the observations of each camera without gaps', () => {
      for (const camera of ['rtsp', 'http', 'directory']) {
        const seqs = messages
          .filter(({ topic }) => topic.endsWith(`/camera/${camera}/observation`))
          .map(({ payload }) => (JSON.parse(payload.toString()) as { seq: number }).seq);
        expect(seqs).toEqual(seqs.map((_, index) => index + 1));
      }
    });
  },
);
