export interface Fitted {
  width: number;
  height: number;
  /** Its pixels are shown as squares. */
  pixelated: boolean;
}

/** The greatest factor. */
const most = 32;

/** The size at which a picture fills a box: small ones grow by a whole factor, large ones shrink. */
export function fit(width: number, height: number, room: { width: number; height: number }): Fitted {
  if (!(width > 0 && height > 0 && room.width > 0 && room.height > 0)) return { width: 0, height: 0, pixelated: false };
  const scale = Math.min(room.width / width, room.height / height);
  const by = scale >= 1 ? Math.min(most, Math.floor(scale)) : scale;
  return {
    width: Math.max(1, Math.round(width * by)),
    height: Math.max(1, Math.round(height * by)),
    pixelated: by > 1,
  };
}
