// Every text of the page in German; the keys are those of english.js.

const REGION_NAMES = {
  forehead: "Stirn", "left brow": "linke Braue", "right brow": "rechte Braue", "left temple": "linke Schläfe",
  "right temple": "rechte Schläfe", "left eye": "linkes Auge", "right eye": "rechtes Auge", "nose bridge": "Nasenrücken",
  "nose tip": "Nasenspitze", "left cheek": "linke Wange", "right cheek": "rechte Wange", mouth: "Mund", "left jaw": "linker Kiefer",
  "right jaw": "rechter Kiefer", chin: "Kinn", "left edge": "linker Bildrand", "right edge": "rechter Bildrand",
  centre: "Mitte", "whole face": "ganzes Gesicht",
};
const PART_WORDS = { upper: "oben", middle: "Mitte", lower: "unten", left: "links", right: "rechts", quarter: "(Viertel)", half: "(Hälfte)", third: "(Drittel)", part: "(Teil)" };
const FAULTS = {
  "cut off by the edge of the photo": "vom Bildrand abgeschnitten", "too dark": "zu dunkel", "too bright": "zu hell",
  "too low in contrast": "zu kontrastarm", "too poor in shades": "zu arm an Helligkeitsstufen", "too noisy": "zu verrauscht",
  "too blurred": "zu unscharf", "too small": "zu klein", "without the shape of a face": "nicht wie ein Gesicht geformt",
  "hardly recognisable as a face": "kaum als Gesicht zu erkennen",
};
const comma = (text) => text.replace(".", ",");
const number = (value, digits) => comma(value.toFixed(digits)).replace("-", "−");
const named = (name) => REGION_NAMES[name] ?? name.split(" ").map((word) => PART_WORDS[word] ?? word).join(" ");
const faulty = (fault) => FAULTS[fault] ?? fault;
const onlyOrMainly = (count) => ({ 1: " nur: ", 2: ": ", 3: ": " })[count] ?? " vor allem: ";
const speaks = (match, list, count) =>
  `${match ? "Dagegen" : "Für eine Übereinstimmung"} ${count === 1 ? "spricht" : "sprechen"}${onlyOrMainly(count)}${list}`;

export const german = {
  code: "de",
  name: "Deutsch",
  number,
  signed: (value, digits) => `${value < 0 || Object.is(value, -0) ? "−" : "+"}${comma(Math.abs(value).toFixed(digits))}`,
  percent: (text) => `${text} %`,
  list: (parts) => (parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} und ${parts.at(-1)}`),
  region: named,
  the: named,
  sides: " (links und rechts wie im Bild)",

  match: "Übereinstimmung",
  noMatch: "Keine Übereinstimmung",
  undecided: "Unentschieden",
  matchMeans: "das Modell hält beide für dieselbe Person",
  noMatchMeans: "das Modell hält sie für zwei Personen",
  onlyJust: "aber nur knapp: ",
  probability: (text, source) => `Wahrscheinlichkeit für dieselbe Person: ${text} (${source})`,
  bounds: { "at least": "mindestens ", "at most": "höchstens " },

  opening: (match, close) => `${match ? "Übereinstimmung" : "Keine Übereinstimmung"}${close ? ", aber nur knapp" : ""}`,
  exactly: (opening, threshold) =>
    `${opening}: Der Wert ist genau die Schwelle ${threshold}, und eine Übereinstimmung braucht mehr (1 Punkt = 0,01)`,
  verdict: (opening, score, far, above, threshold) =>
    `${opening}: Der Wert ${score} liegt ${far} ${above ? "über" : "unter"} der Schwelle ${threshold} (1 Punkt = 0,01)`,
  points: (text) => `${text} ${text === "1,0" ? "Punkt" : "Punkte"}`,
  noSupport: "; keine Region sticht heraus",
  exactSupport: (list, count) => `; gegen eine Übereinstimmung ${count === 1 ? "spricht" : "sprechen"}${onlyOrMainly(count)}${list}`,
  support: (list) => `; am meisten trägt dazu bei: ${list}`,
  nothingSpeaks: (match) => (match ? "Nichts spricht dagegen" : "Nichts spricht für eine Übereinstimmung"),
  noRegionSpeaks: (match, places, amount) =>
    `Keine Region als Ganzes spricht ${match ? "dagegen" : "für eine Übereinstimmung"} ` +
    `(${places === 1 ? "1 Stelle tut es" : `${places} Stellen tun es`}, zusammen ${amount})`,
  speaks,
  tooLittle: "was die Fotos zeigen, reicht nicht aus, um das Urteil zu kippen",
  flipEverywhere: (rise) => `das Urteil würde nur kippen, wenn die Ähnlichkeit überall um mehr als ${rise} stiege`,
  change: (way, mean, one, goal) =>
    `von ${mean}${one ? "" : " im Mittel"} auf ${goal} ${{ changed: "ginge", fell: "fiele", rose: "stiege" }[way]}`,
  goalNeutral: (mean, one) => `den dort neutralen Wert (${mean}${one ? "" : " im Mittel"})`,
  goalThreshold: "die Schwelle",
  flipAll: (change) => `das Urteil würde kippen, wenn die Ähnlichkeit überall ${change}`,
  flipMany: (count, all, change) =>
    `das Urteil würde kippen, wenn die Ähnlichkeit an den ${count} (von ${all}) Stellen, die es am meisten stützen, ${change}`,
  flipAt: (regions, count, all, change) =>
    `das Urteil würde kippen, wenn die Ähnlichkeit an ${count} der ${all} Stellen (${regions}) ${change}`,
  scoreAny: "das Urteil würde kippen, wenn der Wert überhaupt stiege",
  scoreFlip: (match, far) => `das Urteil würde kippen, wenn der Wert um ${match ? "" : "mehr als "}${far} ${match ? "fiele" : "stiege"}`,
  usualUnknown: "Was an jeder Stelle üblich ist, ist für dieses Modell nicht bekannt: Fremde können dort ebenso ähnlich sein",
  nothingTelling: (match) =>
    `Keine Stelle sagt viel aus: Nirgends ist die Ähnlichkeit 3-mal so häufig wie bei ${match ? "Fremden" : "Paaren einer Person"}`,
  tellingMatch: (where, share, value) =>
    `Am meisten sagt diese Stelle aus: ${where}. Dort sind ${share} der Fremden einander weniger ähnlich als diese Gesichter (${value})`,
  tellingNoMatch: (where, share, value) =>
    `Am meisten sagt diese Stelle aus: ${where}. Dort sind ${share} der Paare einer Person einander ähnlicher als diese Gesichter (${value})`,
  highSaysLittle: (value, where, share) =>
    `; die höchste Ähnlichkeit (${value}, ${where}) sagt wenig: ${share} der Fremden sind einander dort noch ähnlicher`,
  share: (share) => (share > 0.99 ? "über 99 %" : share < 0.01 ? "unter 1 %" : `${(100 * share).toFixed(0)} %`),
  outsidePlaces: (places, all, which) =>
    `${places} der ${all} Stellen ${places === 1 ? "liegt" : "liegen"} außerhalb ` +
    `${{ both: "beider Fotos", first: "des ersten Fotos", second: "des zweiten Fotos" }[which]} und ` +
    `${places === 1 ? "liefert" : "liefern"} keinen Grund`,
  outsidePart: (amount) => `; ihr Anteil am Abstand zur Schwelle beträgt ${amount} Punkte`,
  mapSupport: (list) => `; am meisten stützen es, nach Gewicht in den Karten: ${list}`,
  mapSpeaks: (match, list, count, unit) => `${speaks(match, list, count)}${unit ? " (Anteile am Gewicht der Karten)" : ""}`,
  mapNothing: (match) => `Keine Region der Karten spricht ${match ? "dagegen" : "für eine Übereinstimmung"}`,
  asAWhole: "Dieses Modell vergleicht die Gesichter als Ganzes und nennt keine Gründe nach Regionen",
  undecidedBecause: (doubt) => `Unentschieden: ${doubt}`,
  undecidedAdvice:
    "Auf solchen Bildern sehen sich Fremde ähnlich, daher gibt es kein Urteil und keine Gründe; " +
    "nehmen Sie bessere Fotos, oder lassen Sie schlechte zu (--accept-poor), um den Wert zu sehen",
  acceptedAlthough: (doubt) => `Wie verlangt entschieden, obwohl gilt: ${doubt}. Auch schlechte Bilder von Fremden gleichen sich`,
  samePixels: "Beide Gesichter haben genau dieselben Bildpunkte: ein Bild wird mit sich selbst verglichen, und das sagt nichts",
  pairsCompared: (count, first, second) =>
    `${count} Paare von Gesichtern wurden verglichen; dies ist das ähnlichste: Gesicht ${first[0]} von ${first[1]} im ersten Foto ` +
    `und ${second[0]} von ${second[1]} im zweiten (0 ist das größte)`,
  manyPairs: (count) =>
    `Die Rate falscher Treffer der Schwelle gilt für einen Vergleich; bei ${count} ist ein Treffer zwischen Fremden bis zu ${count}-mal so wahrscheinlich`,
  setPhoto: (file, best, least) => `${file || "ein Gesicht"} (${best}; am wenigsten ähnlich: ${least})`,
  setsCompared: (counts, poor, named) =>
    `Verglichen wurden die Mittel von ${counts.join(" und ")} Gesichtern${poor ? `, ohne ${poor}, die für ein Urteil zu schlecht sind` : ""}; ` +
    `den Fotos der anderen Seite am ähnlichsten sind ${named.join(" und ")}`,
  setsRates:
    "Fehlerraten, die an einzelnen Fotos gemessen wurden, gelten nicht für mehrere zusammen: Fremde stimmen mehrmals so oft überein; " +
    "es gibt keine Wahrscheinlichkeit",
  setsShared: (count) => `${count === 1 ? "1 Bild ist" : `${count} Bilder sind`} auf beiden Seiten, und das sagt nichts`,
  doubtBoth: (fault) => `beide Gesichter sind ${faulty(fault)}, um sie zu vergleichen`,
  doubtOne: (which, fault) => `das ${which === "first" ? "erste" : "zweite"} Gesicht ist ${faulty(fault)}`,
  doubts: (parts) => parts.join(", und "),

  title: "Warum?",
  pageTitle: (verdict, a, b) => `${verdict}: ${a} und ${b}`,
  face: (which) => `Gesicht ${which}`,
  photo: (which) => `Foto ${which}`,
  facesHeading: "Die beiden Gesichter",
  mapsHeading: "Wo sie sich ähnlich sind und wie viel es zählt",
  similarity: "Ähnlichkeit",
  weight: "Gewicht",
  contribution: "Beitrag",
  forAgainst: "Dafür oder dagegen",
  similarityNote: (telling) =>
    telling ? "Wie ähnlich: 1 gleich, 0 ohne Bezug. Blau ist bei einer Person häufiger, Rot bei Fremden."
      : "Wie ähnlich: 1 gleich, 0 ohne Bezug. Blau liegt über der Schwelle, Rot darunter.",
  weightNote: "Wie viel jede Stelle zählt, in Prozent; zusammen 100.",
  weightRawNote: (total) => `Wie viel jede Stelle zählt; die Gewichte ergeben zusammen ${total}.`,
  contributionNote: (total) => `Ähnlichkeit mal Gewicht, in Punkten von 0,01; zusammen der Wert, ${total}.`,
  forAgainstNote: (total) => `Für (+) oder gegen (−) eine Übereinstimmung, in Punkten von 0,01; zusammen Wert minus Schwelle, ${total}.`,
  third: "Dritte Karte",
  whichMap: "Gezeigte Karte",
  onFaces: "Auf den Gesichtern",
  overlays: { none: "Nur das Gitter", shares: "Dafür oder dagegen", weight: "Gewicht", similarity: "Ähnlichkeit" },
  overlayMap: (method, control) => `Karte von ${method}${control ? " (zur Kontrolle, keine Erklärung)" : ""}`,
  moveHint: "Zeigen Sie auf eine Stelle oder gehen Sie mit den Pfeiltasten; ein Klick oder die Leertaste lässt sie weg.",
  place: (region, row, column) => `${region}, Zeile ${row}, Spalte ${column}`,
  placeHeading: "Diese Stelle",
  placeSimilarity: "Ähnlichkeit",
  placeWeight: "Gewicht",
  placeContribution: "Beitrag zum Wert",
  placeShare: "Für (+) oder gegen (−) eine Übereinstimmung",
  placeUsual: (share) => `${share} der Fremden sind einander an dieser Stelle weniger ähnlich`,
  placeGenuine: (share) => `${share} der Paare einer Person sind einander an dieser Stelle weniger ähnlich`,
  placeOdds: (times, same) => `Eine solche Ähnlichkeit ist bei ${same ? "einer Person" : "Fremden"} etwa ${times}-mal so häufig`,
  placeEven: "Eine solche Ähnlichkeit ist bei einer Person etwa so häufig wie bei Fremden",
  placeOutside: "Liegt außerhalb eines Fotos und liefert keinen Grund",
  placeOff: "weggelassen",
  placeUnknown: "Was hier üblich ist, ist nicht bekannt",
  leavePlace: "Diese Stelle weglassen",
  countPlace: "Diese Stelle wieder zählen",
  pointsUnit: "Punkte",
  regionsHeading: "Nach Regionen",
  region_: "Region",
  counts: "Zählt",
  places: "Stellen",
  regionsNote: (margin) => `In Punkten von 0,01; zusammen ${margin}, Wert minus Schwelle.`,
  outsideRow: "außerhalb des Fotos",
  whatIf: "Was wäre, wenn ein Teil des Gesichts verdeckt wäre?",
  whatIfHint: "Wählen Sie eine Region ab, oder lassen Sie Stellen auf den Karten weg: Die übrigen teilen sich dann das ganze Gewicht.",
  whatIfNone: (score, verdict) => `Alles zählt: Wert ${score}, ${verdict}.`,
  whatIfSome: (places, weight, score, verdict, flips) =>
    `Ohne ${places === 1 ? "1 Stelle" : `${places} Stellen`} (${weight} des Gewichts): Wert ${score}, ${verdict}${flips ? ". Das Urteil kippt." : "."}`,
  whatIfNothing: "Nichts bleibt übrig, das zählt; es gibt keinen Wert.",
  whatIfCaveat: "Reine Rechnung mit den Zahlen oben; wirklich verdeckte Fotos würden neu verglichen.",
  reset: "Wieder alles zählen",
  thresholdHeading: "Was wäre bei einer anderen Schwelle?",
  thresholdLabel: "Schwelle",
  thresholdScore: (score) => `Wert ${score}`,
  thresholdAt: (threshold, verdict, flips) => `Bei ${threshold}: ${verdict}${flips ? ", anders als oben" : ""}.`,
  ratesExact: (fmr, fnmr) => `${fmr} der Paare von Fremden kämen durch, und ${fnmr} der Paare einer Person würden abgelehnt.`,
  ratesBetween: (fmr, fnmr) => `Zwischen ${fmr} der Paare von Fremden kämen durch, und zwischen ${fnmr} der Paare einer Person würden abgelehnt.`,
  ratesBeyond: (fmr, fnmr) => `Höchstens ${fmr} der Paare von Fremden kämen durch, und mindestens ${fnmr} der Paare einer Person würden abgelehnt.`,
  ratesBefore: (fmr, fnmr) => `Mindestens ${fmr} der Paare von Fremden kämen durch, und höchstens ${fnmr} der Paare einer Person würden abgelehnt.`,
  and: "und",
  ratesUnknown: "Für dieses Modell sind keine Fehlerraten bekannt.",
  ratesData: (data) => `Gemessen auf ${data}.`,
  resetThreshold: "Zurück zur Schwelle des Modells",
  oneIn: (count) => `1 von ${count}`,
  qualityHeading: "Fotos und Qualität",
  warnings: "Hinweise",
  measures: {
    unified: "Qualität (0 bis 1)", sharpness: "Schärfe (0 bis 1)", noise: "Rauschen (Graustufen)", luminance_mean: "Helligkeit (0 bis 1)",
    dynamic_range: "Helligkeitsstufen (Bit)", under_exposure: "Fast schwarz", over_exposure: "Fast weiß", outside: "Außerhalb des Fotos",
    inter_eye_distance: "Augenabstand (Bildpunkte)", landmark_misfit: "Abweichung der Merkpunkte", recognisability: "Erkennbar (0 bis 1)",
    detection_score: "Sicherheit des Detektors", yaw: "Seitlich gedreht (Grad)", pitch: "Nach oben gedreht (Grad)", roll: "Geneigt (Grad)",
  },
  measure: "Maß",
  file: "Datei",
  chosen: (index, count) => `Gesicht ${index + 1} von ${count}, nach Größe`,
  chosenRow: "Welches Gesicht",
  onlyFace: "Das einzige gefundene Gesicht",
  severalFaces: (which, index, count) => `Foto ${which} zeigt ${count} Gesichter; verglichen wurde Nummer ${index + 1} nach Größe.`,
  shortcoming: (which, fault) => `Gesicht ${which} ist ${faulty(fault)}.`,
  closeCall: "Das ist knapp: Der Wert liegt weniger als einen Punkt von der Schwelle.",
  outsideWarning: (which, places) => `Von Gesicht ${which} ${places === 1 ? "liegt 1 Stelle" : `liegen ${places} Stellen`} außerhalb des Fotos.`,
  noWarnings: "Keine.",
  notMeasured: "nicht gemessen",
  tableHeading: "Alle Zahlen als Tabelle",
  tableCaption: "Jede Stelle mit ihren Zahlen, Zeile für Zeile von links oben",
  strangersColumn: "Fremde weniger ähnlich",
  genuineColumn: "Eine Person weniger ähnlich",
  row: "Zeile",
  column: "Spalte",
  provenanceHeading: "Woher das kommt",
  provenance: {
    model: "Modell", sha256: "SHA-256", method: "Verfahren", threshold: "Schwelle", rates: "Fehlerraten dort", usual: "Übliche Ähnlichkeiten",
    versions: "Software", cost: "Aufwand", settings: "Einstellungen", crops: "SHA-256 der ausgerichteten Gesichter", box: "Gesichter in den Fotos", record: "Protokoll",
  },
  review: {
    heading: "Was ein Mensch entschieden hat", hint: "Ausfüllen und als eigene Datei sichern; das Protokoll, aus dem sie entsteht, bleibt, wie es ist.",
    reviewer: "Geprüft von", decision: "Entscheidung", reason: "Begründung (darf leer sein)", date: "Datum und Uhrzeit (leer: jetzt)",
    decisions: { same: "Dieselbe Person", different: "Verschiedene Personen", open: "Keine Entscheidung" },
    save: "Unterschriebenes Protokoll sichern (JSON)", missing: "Bitte die prüfende Person und die Entscheidung eintragen.", saved: (name) => `Gesichert als ${name}.`,
    signed: (who, what, when) => `Unterschrieben von ${who} am ${when}: ${what}.`,
    time: "Zeit", note: "Notiz", decided: "Entschieden", role: (role) => `Datei: ${role}`, asked: (name) => `Verlangt: ${name}`,
  },
  rates: (fmr, fnmr) => `FMR ${fmr}, FNMR ${fnmr}`,
  cost: (forward, seconds) => `${forward} Durchläufe des Netzes${seconds ? `, ${seconds} Sekunden` : ""}`,
  leftRight: "Links und rechts sind wie im Bild zu sehen.",
  language: "Sprache",
  theme: "Darstellung",
  themes: { auto: "Wie das System", light: "Hell", dark: "Dunkel" },
  saveJson: "Zahlen sichern (JSON)",
  saveReport: "Diese Seite sichern",
  print: "Drucken",
};
