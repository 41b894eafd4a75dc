/** Heights and widths the table reckons with, in pixels. */
export const rowHeight = 34;
export const cardHeight = 84;
export const checkWidth = 40;
