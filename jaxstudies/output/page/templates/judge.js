"use strict";
// Verdicts from intervals. How an interval is had is not written here: Python wrote it down for every level and number
// of seeds. These are the rules of jaxstudies/evidence/rules.py by which it is held against a region.

/** Return where an interval lies: inside the region, outside, or neither. */
function heldAgainst(low, high, [least, most], ends) {
  const inside = (least < low || (least === low && ends[0] === "[")) && (high < most || (high === most && ends[1] === "]"));
  const outside = high < least || most < low || (high === least && ends[0] === "(") || (low === most && ends[1] === ")");
  return inside ? "supported" : outside ? "refuted" : "inconclusive";
}

const isDecided = (kind) => kind === "supported" || kind === "refuted";

/** Return the numbers of a study as they were packed. */
function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Float64Array(bytes.buffer);
}

/** Judge a claim as one of k that share the error: at the first look that decides, where there are looks. */
function judged(study, claim, { level, seeds, margin, reading = "" }, k = 1) {
  const offered = study.levels.indexOf(level);
  const at = offered < 0 ? claim.own : offered; // of very many intervals few levels are here
  const last = Math.max(study.sizes.findLastIndex((size) => seeds === null || size <= seeds), 0);
  const region = [(claim.region[0] ?? -Infinity) - margin, (claim.region[1] ?? Infinity) + margin];
  const entry = at * claim.parts + k - 1;
  const isRead = Object.hasOwn(claim.readings ?? {}, reading);
  const rows = isRead ? claim.readings[reading] : claim.rows;
  let found = null;
  for (let place = study.sequence ? 0 : last; place <= last && !(found && isDecided(found.kind)); place++) {
    const row = rows[place];
    if (row.skipped && place < last) continue;
    const here = 2 * (row.at + entry);
    const [low, high] = [study.ends[here], study.ends[here + 1]];
    const why = Array.isArray(row.why) ? row.why[entry] : row.why;
    const kind = !row.n ? "not tested" : why ? "inconclusive" : heldAgainst(low, high, region, claim.ends);
    found = { kind, low, high, why, n: row.n, effect: row.effect, region, isRead,
      asked: level === null || offered >= 0 };
  }
  const why = region[0] > region[1] ? "nothing is left of its region" : isRead ? "" : claim.undecidable;
  return why && found.n ? { ...found, kind: "inconclusive", why } : found;
}

/** Judge all claims of a study, alone and, those that are primary, as a family (Holm). */
function judgedAll(study, settingOf) {
  const alone = study.claims.map((claim) => judged(study, claim, settingOf(claim)));
  const inFamily = (place) => study.claims[place].primary && alone[place].kind !== "not tested";
  let left = alone.map((_, place) => place).filter(inFamily);
  const decided = new Set();
  for (let added = true; added && left.length; left = left.filter((place) => !decided.has(place))) {
    const again = (place) => judged(study, study.claims[place], settingOf(study.claims[place]), left.length).kind;
    const fresh = left.filter((place) => isDecided(alone[place].kind) && again(place) === alone[place].kind);
    fresh.forEach((place) => decided.add(place));
    added = fresh.length > 0;
  }
  return alone.map((found, place) => {
    if (!study.claims[place].primary) return { ...found, family: "" };
    return { ...found, family: isDecided(found.kind) && !decided.has(place) ? "inconclusive" : found.kind };
  });
}
