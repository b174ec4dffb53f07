import { mosquitto } from './brokers.ts';
import { conformance } from './suite.ts';

conformance('mosquitto, MQTT 5', () => mosquitto(5));
conformance('mosquitto, MQTT 3.1.1', () => mosquitto(4));
