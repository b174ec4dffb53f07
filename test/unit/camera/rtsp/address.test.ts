import { describe, expect, it } from 'vitest';
import { isSameOrigin } from '../../../../src/camera/rtsp/address.ts';

describe('isSameOrigin', () => {
  it.each([
    ['rtsp://cam:554/cam', 'rtsp://cam/other', true],
    ['rtsp://cam/cam', 'rtsp://cam:554/other', true],
    ['rtsps://cam:322/cam', 'rtsps://CAM/other', true],
    ['rtsp://Cam:8554/cam', 'rtsp://cAM:8554/', true],
    ['rtsp://[::1]/cam', 'rtsp://[0:0::1]:554/', true],
    ['rtsp://cam:322/cam', 'rtsps://cam/', false],
    ['rtsp://cam/cam', 'rtsp://cam:322/', false],
    ['rtsps://cam/cam', 'rtsps://cam:554/', false],
    ['rtsp://cam/cam', 'rtsp://cam.other/', false],
  ])('compares %s with %s', (a, b, expected) => {
    expect(isSameOrigin(new URL(a), new URL(b))).toBe(expected);
  });
});
