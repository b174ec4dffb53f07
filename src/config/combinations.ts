import { accessSync, constants } from 'node:fs';
import { resolve } from 'node:path';
import { NotPem, orderChain, readCertificateFile, readPrivateKeyFile } from '../base/pem.ts';
import type { ConfigFault } from './faults.ts';
import { isLoopback, type Settings } from './schema.ts';

/** Checks values that are valid alone but not together. `broken`: keys that already have a fault. */
export function checkCombinations(
  settings: Settings,
  broken: ReadonlySet<string>,
  faults: ConfigFault[],
): void {
  const { mqtt, http, model, update } = settings;
  const rule = (keys: readonly string[], holds: boolean, given: string, wanted: string): void => {
    const [key = ''] = keys;
    if (!holds && !keys.some((name) => broken.has(name))) faults.push({ key, given, wanted, origin: null });
  };
  const tls = mqtt.url.some((url) => /^(mqtts|wss):/i.test(url));
  rule(['mqtt.key', 'mqtt.cert'], mqtt.cert === null || mqtt.key !== null, 'nothing', 'the key of mqtt.cert');
  rule(['mqtt.cert', 'mqtt.key'], mqtt.key === null || mqtt.cert !== null, 'nothing', 'the cert of mqtt.key');
  for (const name of ['ca', 'cert', 'key'] as const) {
    const path = mqtt[name];
    if (path === null) continue;
    rule([`mqtt.${name}`, 'mqtt.url'], tls, path, 'an mqtts:// or wss:// address in mqtt.url');
  }
  const hasBroker = mqtt.url.length > 0;
  rule(
    ['mqtt.username', 'mqtt.url'],
    hasBroker || mqtt.username === null,
    'a user name',
    'a broker in mqtt.url',
  );
  rule(['mqtt.password', 'mqtt.url'], hasBroker || mqtt.password === null, '***', 'a broker in mqtt.url');
  rule(
    ['mqtt.username', 'mqtt.password', 'mqtt.protocolVersion'],
    mqtt.password === null || mqtt.username !== null || mqtt.protocolVersion === 5,
    'nothing',
    'a user name: MQTT 3.1.1 needs one for a password',
  );
  rule(
    ['http.token', 'http.host', 'http.token_file'],
    isLoopback(http.host) || http.token !== null,
    'nothing',
    `a token, because http.host is ${http.host} and not loopback`,
  );
  rule(
    ['mqtt.embedded.port', 'http.port', 'mqtt.url'],
    hasBroker || http.port === 0 || http.port !== mqtt.embedded.port,
    String(mqtt.embedded.port),
    'another port than http.port',
  );
  if (model.trustRoot !== null)
    rule(['model.trustRoot'], isReadable(model.trustRoot), model.trustRoot, 'a readable file');
  if (update.trustRoot !== null)
    rule(['update.trustRoot'], isReadable(update.trustRoot), update.trustRoot, 'a readable file');
  rule(
    ['update.auto', 'update.repository', 'update.trustRoot'],
    !update.auto || (update.repository !== null && update.trustRoot !== null),
    'true',
    'update.repository and update.trustRoot too',
  );
}

/** Finds unusable certificates and keys of the broker now, and not at the first connection. */
export function checkPemFiles({ ca, cert, key }: Settings['mqtt'], faults: ConfigFault[]): void {
  const read = <T>(name: string, path: string | null, reader: (path: string) => T): T | null => {
    if (path === null) return null;
    try {
      return reader(path);
    } catch (thrown) {
      if (!(thrown instanceof NotPem)) throw thrown;
      faults.push({ key: `mqtt.${name}`, given: path, wanted: thrown.message, origin: null });
      return null;
    }
  };
  read('ca', ca, readCertificateFile);
  const certificates = read('cert', cert, readCertificateFile);
  const privateKey = read('key', key, readPrivateKeyFile);
  if (certificates && privateKey && orderChain(certificates, privateKey) === null)
    faults.push({
      key: 'mqtt.key',
      given: key ?? '',
      wanted: `the private key of the certificate in ${cert ?? 'mqtt.cert'}`,
      origin: null,
    });
}

function isReadable(path: string): boolean {
  try {
    accessSync(resolve(path), constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
