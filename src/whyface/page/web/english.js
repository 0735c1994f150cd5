// Every text of the page in English. Texts with numbers are functions, so that each language orders them as it must.

export const english = {
  code: "en",
  name: "English",
  number: (value, digits) => value.toFixed(digits),
  signed: (value, digits) => `${value < 0 || Object.is(value, -0) ? "-" : "+"}${Math.abs(value).toFixed(digits)}`,
  percent: (text) => `${text}%`,
  list: (parts) => (parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`),
  region: (name) => name,
  the: (name) => (name.endsWith("edge") ? `the ${name} of the picture` : `the ${name}`),
  sides: " (left and right as seen in the picture)",

  // The verdict.
  match: "Match",
  noMatch: "No match",
  undecided: "Undecided",
  matchMeans: "the model takes both for the same person",
  noMatchMeans: "the model takes them for two people",
  onlyJust: "but only just: ",
  probability: (text, source) => `Probability of the same person: ${text} (${source})`,
  bounds: { "at least": "at least ", "at most": "at most " },

  // Sentences; the same as those of whyface.explain.sentences.
  opening: (match, close) => `${match ? "Match" : "No match"}${close ? ", but only just" : ""}`,
  exactly: (opening, threshold) =>
    `${opening}: the score is exactly the threshold of ${threshold}, and a match needs more (1 point = 0.01)`,
  verdict: (opening, score, far, above, threshold) =>
    `${opening}: the score of ${score} is ${far} ${above ? "above" : "below"} the threshold of ${threshold} (1 point = 0.01)`,
  points: (text) => `${text} point${text === "1.0" ? "" : "s"}`,
  noSupport: ", with no region that stands out",
  exactSupport: (list, count) => `; ${manner(count)}${list} ${count === 1 ? "speaks" : "speak"} against a match`,
  support: (list, match) => `, ${match ? "thanks" : "due"} above all to ${list}`,
  nothingSpeaks: (match) => `Nothing speaks ${match ? "against it" : "for a match"}`,
  noRegionSpeaks: (match, places, amount) =>
    `No region as a whole speaks ${match ? "against it" : "for a match"} ` +
    `(${places === 1 ? "1 place does" : `${places} places do`}, ${amount} in all)`,
  speaks: (match, list, count) => {
    const text = `${manner(count)}${list} ${count === 1 ? "speaks" : "speak"} ${match ? "against it" : "for a match"}`;
    return text[0].toUpperCase() + text.slice(1);
  },
  tooLittle: "what the photos show of it is too little to flip the verdict",
  flipEverywhere: (rise) => `the verdict would flip only if the similarity rose by more than ${rise} everywhere`,
  change: (way, mean, one, goal) =>
    `${{ changed: "changed", fell: "fell", rose: "rose" }[way]} from ${mean}${one ? "" : " on average"} to ${goal}`,
  goalNeutral: (mean, one) => `what is neutral there (${mean}${one ? "" : " on average"})`,
  goalThreshold: "the threshold",
  flipAll: (change) => `the verdict would flip if the similarity ${change} everywhere`,
  flipMany: (count, all, change) =>
    `the verdict would flip if the similarity in the ${count} places (of ${all}) that support it most ${change}`,
  flipAt: (regions, count, all, change) =>
    `the verdict would flip if the similarity at ${regions} (${count} of the ${all} places) ${change}`,
  scoreAny: "the verdict would flip if the score rose at all",
  scoreFlip: (match, far) => `the verdict would flip if the score ${match ? "fell by" : "rose by more than"} ${far}`,
  usualUnknown: "What is usual at each place is not on record for this model: strangers may be as alike there",
  nothingTelling: (match) =>
    `No place is telling: nowhere is the similarity 3 times as common as among ${match ? "strangers" : "pairs of one person"}`,
  tellingMatch: (where, share, value) =>
    `The most telling place is at ${where}: ${share} of strangers are less alike there than these faces (${value})`,
  tellingNoMatch: (where, share, value) =>
    `The most telling place is at ${where}: ${share} of pairs of one person are more alike there than these faces (${value})`,
  highSaysLittle: (value, where, share) =>
    `; the highest similarity (${value}, at ${where}) says little: ${share} of strangers are even more alike there`,
  share: (share) => (share > 0.99 ? "over 99%" : share < 0.01 ? "under 1%" : `${(100 * share).toFixed(0)}%`),
  outsidePlaces: (places, all, which) =>
    `${places} of the ${all} places ${places === 1 ? "lies" : "lie"} outside ` +
    `${{ both: "both photos", first: "the first photo", second: "the second photo" }[which]} and ` +
    `${places === 1 ? "gives no reason" : "give no reasons"}`,
  outsidePart: (amount) => `; their part in the distance from the threshold is ${amount} points`,
  mapSupport: (list) => `, supported most by ${list} of the maps' weight`,
  mapSpeaks: (match, list, count, unit) => `${english.speaks(match, list, count)}${unit ? " (shares of the maps' weight)" : ""}`,
  mapNothing: (match) => `No region of the maps speaks ${match ? "against it" : "for a match"}`,
  asAWhole: "This model compares the faces as a whole and gives no reasons by region",
  undecidedBecause: (doubt) => `Undecided: ${doubt}`,
  undecidedAdvice:
    "Strangers look alike in such pictures, so there is no verdict and there are no reasons; " +
    "give better photos, or accept poor ones (--accept-poor) to see the score",
  acceptedAlthough: (doubt) => `Accepted as asked, although ${doubt}: poor faces of strangers agree, too`,
  samePixels: "Both faces have the very same pixels: this is one picture compared with itself, which says nothing",
  pairsCompared: (count, first, second) =>
    `${count} pairs of faces were compared; this is the most alike: face ${first[0]} of ${first[1]} in the first photo ` +
    `and ${second[0]} of ${second[1]} in the second (0 is the largest)`,
  manyPairs: (count) =>
    `The threshold's false match rate is that of one comparison; with ${count}, a match of strangers is up to ${count} times as likely`,
  setPhoto: (file, best, least) => `${file || "a face"} (${best}; the least ${least})`,
  setsCompared: (counts, poor, named) =>
    `The means of ${counts.join(" and ")} faces were compared${poor ? `, without ${poor} too poor to support a verdict` : ""}; ` +
    `most like the other set are ${named.join(" and ")}`,
  setsRates:
    "Error rates that were measured on single photos do not hold for sets: strangers match several times as often; there is no probability",
  setsShared: (count) => `${count === 1 ? "1 of the pictures is" : `${count} of the pictures are`} in both sets, which says nothing`,
  doubtBoth: (fault) => `both faces are ${faulty(fault)}`,
  doubtOne: (which, fault) => `the ${which} face is ${faulty(fault)}`,
  doubts: (parts) => parts.join(" and "),

  // The views.
  title: "Why?",
  pageTitle: (verdict, a, b) => `${verdict}: ${a} and ${b}`,
  face: (which) => `Face ${which}`,
  photo: (which) => `Photo ${which}`,
  facesHeading: "The two faces",
  mapsHeading: "Where they are alike, and how much it counts",
  similarity: "Similarity",
  weight: "Weight",
  contribution: "Contribution",
  forAgainst: "For or against",
  similarityNote: (telling) =>
    telling ? "How alike: 1 the same, 0 unrelated. Blue is commoner for one person, red for strangers."
      : "How alike: 1 the same, 0 unrelated. Blue is above the threshold, red below.",
  weightNote: "How much each place counts, in percent; together 100.",
  weightRawNote: (total) => `How much each place counts; the weights sum to ${total}.`,
  contributionNote: (total) => `Similarity times weight, in points of 0.01; together the score, ${total}.`,
  forAgainstNote: (total) => `For (+) or against (-) a match, in points of 0.01; together score minus threshold, ${total}.`,
  third: "Third map",
  whichMap: "Map shown",
  onFaces: "Show on the faces",
  overlays: { none: "Only the grid", shares: "For or against", weight: "Weight", similarity: "Similarity" },
  overlayMap: (method, control) => `Map of ${method}${control ? " (a control, no explanation)" : ""}`,
  moveHint: "Point at a place, or move with the arrow keys; click or press Space to leave a place out.",
  place: (region, row, column) => `${region}, row ${row}, column ${column}`,
  placeHeading: "This place",
  placeSimilarity: "Similarity",
  placeWeight: "Weight",
  placeContribution: "Contribution to the score",
  placeShare: "For (+) or against (-) a match",
  placeUsual: (share) => `${share} of strangers are less alike at this place`,
  placeGenuine: (share) => `${share} of pairs of one person are less alike at this place`,
  placeOdds: (times, same) => `Such a similarity is about ${times} times commoner for ${same ? "one person" : "strangers"}`,
  placeEven: "Such a similarity is about as common for one person as for strangers",
  placeOutside: "Lies outside a photo and gives no reason",
  placeOff: "left out",
  placeUnknown: "What is usual here is not on record",
  leavePlace: "Leave this place out",
  countPlace: "Count this place again",
  pointsUnit: "points",
  regionsHeading: "By region",
  region_: "Region",
  counts: "Counts",
  places: "Places",
  regionsNote: (margin) => `In points of 0.01; together ${margin}, the score minus the threshold.`,
  outsideRow: "outside the photo",
  whatIf: "What if part of the face were covered?",
  whatIfHint: "Untick a region, or leave out places on the maps: the other places then share the whole weight.",
  whatIfNone: (score, verdict) => `Everything counts: score ${score}, ${verdict}.`,
  whatIfSome: (places, weight, score, verdict, flips) =>
    `Without ${places === 1 ? "1 place" : `${places} places`} (${weight} of the weight): score ${score}, ${verdict}${flips ? ". The verdict flips." : "."}`,
  whatIfNothing: "Nothing is left that counts, so there is no score.",
  whatIfCaveat: "Plain arithmetic with the numbers above; photos that are really covered would be compared anew.",
  reset: "Count everything again",
  thresholdHeading: "What if the threshold were another?",
  thresholdLabel: "Threshold",
  thresholdScore: (score) => `score ${score}`,
  thresholdAt: (threshold, verdict, flips) => `At ${threshold}: ${verdict}${flips ? ", not the verdict above" : ""}.`,
  ratesExact: (fmr, fnmr) => `${fmr} of pairs of strangers would pass, and ${fnmr} of pairs of one person would be refused.`,
  ratesBetween: (fmr, fnmr) => `Between ${fmr} of pairs of strangers would pass, and between ${fnmr} of pairs of one person would be refused.`,
  ratesBeyond: (fmr, fnmr) => `At most ${fmr} of pairs of strangers would pass, and at least ${fnmr} of pairs of one person would be refused.`,
  ratesBefore: (fmr, fnmr) => `At least ${fmr} of pairs of strangers would pass, and at most ${fnmr} of pairs of one person would be refused.`,
  and: "and",
  ratesUnknown: "No error rates are on record for this model.",
  ratesData: (data) => `Measured on ${data}.`,
  resetThreshold: "Back to the model's threshold",
  oneIn: (count) => `1 in ${count}`,
  qualityHeading: "Photos and quality",
  warnings: "Warnings",
  measures: {
    unified: "Quality (0 to 1)", sharpness: "Sharpness (0 to 1)", noise: "Noise (grey levels)", luminance_mean: "Brightness (0 to 1)",
    dynamic_range: "Shades (bits)", under_exposure: "Nearly black", over_exposure: "Nearly white", outside: "Outside the photo",
    inter_eye_distance: "Between the eyes (pixels)", landmark_misfit: "Misfit of landmarks", recognisability: "Recognisable (0 to 1)",
    detection_score: "Detector's confidence", yaw: "Turned sideways (degrees)", pitch: "Turned up (degrees)", roll: "Tilted (degrees)",
  },
  measure: "Measure",
  file: "File",
  chosen: (index, count) => `Face ${index + 1} of ${count}, by size`,
  chosenRow: "Which face",
  onlyFace: "The only face found",
  severalFaces: (which, index, count) => `Photo ${which} shows ${count} faces; number ${index + 1} by size was compared.`,
  shortcoming: (which, fault) => `Face ${which} is ${fault}.`,
  closeCall: "This is a close call: the score is less than one point from the threshold.",
  outsideWarning: (which, places) => `Of face ${which}, ${places} ${places === 1 ? "place lies" : "places lie"} outside the photo.`,
  noWarnings: "None.",
  notMeasured: "not measured",
  tableHeading: "All numbers as a table",
  tableCaption: "Every place with its numbers, row by row from the top left",
  strangersColumn: "Strangers less alike",
  genuineColumn: "One person less alike",
  row: "Row",
  column: "Column",
  provenanceHeading: "Where this comes from",
  provenance: {
    model: "Model", sha256: "SHA-256", method: "Method", threshold: "Threshold", rates: "Error rates there", usual: "Usual similarities",
    versions: "Software", cost: "Cost", settings: "Settings", crops: "SHA-256 of the aligned faces", box: "Faces in the photos", record: "Record",
  },
  review: {
    heading: "What a person decided", hint: "Fill this in and save it as a file of its own; the record that it came from stays as it is.",
    reviewer: "Reviewer", decision: "Decision", reason: "Reason (may be empty)", date: "Date and time (empty: now)",
    decisions: { same: "Same person", different: "Different people", open: "No decision" },
    save: "Save the signed record (JSON)", missing: "Fill in the reviewer and the decision.", saved: (name) => `Saved as ${name}.`,
    signed: (who, what, when) => `Signed by ${who} on ${when}: ${what}.`,
    time: "Time", note: "Note", decided: "Decided", role: (role) => `File: ${role}`, asked: (name) => `Asked for: ${name}`,
  },
  rates: (fmr, fnmr) => `FMR ${fmr}, FNMR ${fnmr}`,
  cost: (forward, seconds) => `${forward} passes of the network${seconds ? `, ${seconds} seconds` : ""}`,
  leftRight: "Left and right are as seen in the picture.",
  language: "Language",
  theme: "Appearance",
  themes: { auto: "As the system", light: "Light", dark: "Dark" },
  saveJson: "Save the numbers (JSON)",
  saveReport: "Save this page",
  print: "Print",
};

function faulty(fault) {
  return fault.startsWith("too ") ? `${fault} to compare` : fault;
}

function manner(count) {
  return { 1: "only ", 2: "", 3: "" }[count] ?? "mainly ";
}
