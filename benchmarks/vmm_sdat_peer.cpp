// Runs vmm-sdat's own Clusterer on hits from a file, without ROOT: its sources come from a checkout,
// this file gives what it links against and writes the clusters as text.
//
//   peer geometry.txt hits.bin out.txt period dt mst spc cs dp ccs crl cru
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "Clusterer.h"
#include "Configuration.h"
#include "log.h"

Configuration::Configuration() {}

bool Configuration::GetDetectorPlane(std::pair<uint8_t, uint8_t> plane) {
  return p_DetPlane_idx.count(plane) > 0;
}

// Histograms of statistics are not kept; the time stamps steer the clustering.
using Plane = std::pair<uint8_t, uint8_t>;
Statistics::Statistics() {}
void Statistics::SetStatsPads(std::string, uint8_t, double) {}
void Statistics::SetStatsDetector(std::string, uint8_t, double) {}
void Statistics::SetStatsPlane(std::string, Plane, double) {}
void Statistics::PrintClusterStats(Configuration &) {}
void Statistics::PrintFECStats(Configuration &) {}
void Statistics::IncrementCounter(std::string, uint16_t, uint64_t) {}
double Statistics::GetOldTriggerTimestamp(uint16_t fec) { return m_oldTriggerTimestamp[fec]; }
void Statistics::SetOldTriggerTimestamp(uint16_t fec, double t) { m_oldTriggerTimestamp[fec] = t; }
double Statistics::GetFirstTriggerTimestamp(uint16_t fec) { return m_firstTriggerTimestamp[fec]; }
void Statistics::SetFirstTriggerTimestamp(uint16_t fec, double t) {
  m_firstTriggerTimestamp[fec] = t;
}
double Statistics::GetMaxTriggerTimestamp(uint16_t fec) { return m_maxTriggerTimestamp[fec]; }
void Statistics::SetMaxTriggerTimestamp(uint16_t fec, double t) { m_maxTriggerTimestamp[fec] = t; }
double Statistics::GetLowestCommonTriggerTimestampDet(uint8_t det) {
  return m_lowestCommonTriggerTimestamp_det[det];
}
void Statistics::SetLowestCommonTriggerTimestampDet(uint8_t det, double t) {
  m_lowestCommonTriggerTimestamp_det[det] = t;
}
double Statistics::GetLowestCommonTriggerTimestampPlane(Plane plane) {
  return m_lowestCommonTriggerTimestamp_plane[plane];
}
void Statistics::SetLowestCommonTriggerTimestampPlane(Plane plane, double t) {
  m_lowestCommonTriggerTimestamp_plane[plane] = t;
}

struct Row {
  double coarse, chip;
  int32_t fec, vmm, channel, bcid, tdc, adc, over, unused;
};

int main(int argc, char **argv) {
  if (argc != 13) return 2;
  static Configuration config;
  for (int fec = 0; fec < NUMFECS; fec++) {
    for (int vmm = 0; vmm < 16; vmm++) {
      config.pDetectors[fec][vmm] = config.pPlanes[fec][vmm] = -1;
      config.pIsPads[vmm] = false;
      for (int ch = 0; ch < 64; ch++) {
        config.pPositions0[fec][vmm][ch] = config.pPositions1[fec][vmm][ch] = -1;
      }
    }
  }
  FILE *geometry = fopen(argv[1], "r");
  int fec, vmm, ch, det, plane, strip;
  while (geometry && fscanf(geometry, "%d %d %d %d %d %d", &fec, &vmm, &ch, &det, &plane, &strip) == 6) {
    config.pDetectors[fec][vmm] = det;
    config.pPlanes[fec][vmm] = plane;
    config.pPositions0[fec][vmm][ch] = strip;
    config.p_DetPlane_idx[{det, plane}] = 0;
    auto &fecs = config.pFecs;
    if (std::find(fecs.begin(), fecs.end(), uint16_t(fec)) == fecs.end()) fecs.push_back(fec);
    if (!config.pDets.count(det)) {
      auto number = config.pDets.size();
      config.pDets.emplace(det, number);
    }
  }
  config.pBCTime_ns = atof(argv[4]);
  config.pOffsetPeriod = 4096 * config.pBCTime_ns;
  auto set = [&](std::vector<double> &values, int n) {
    values.assign(config.pDets.size(), atof(argv[n]));
  };
  set(config.pDeltaTimeHits, 5);
  set(config.pMissingStripsClusterX, 6);
  set(config.pMissingStripsClusterY, 6);
  set(config.pSpanClusterTime, 7);
  set(config.pMinClusterSize, 8);
  set(config.pDeltaTimePlanes, 9);
  set(config.pCoincidentClusterSize, 10);
  set(config.pChargeRatioLower, 11);
  set(config.pChargeRatioUpper, 12);
  config.pADCThreshold.assign(config.pDets.size(), 0);
  config.pSaveWhat = 111;
  corryvreckan::Log::setReportingLevel(corryvreckan::Log::getLevelFromString("FATAL"));

  std::vector<Row> rows;
  FILE *hits = fopen(argv[2], "rb");
  Row row;
  while (hits && fread(&row, sizeof row, 1, hits) == 1) rows.push_back(row);

  Statistics statistics;
  Clusterer clusterer(config, statistics);
  clock_t begin = clock();
  for (auto &r : rows) {
    clusterer.AnalyzeHits(r.coarse, r.fec, r.vmm, r.channel, r.bcid, r.tdc, r.adc, r.over, r.chip);
  }
  clusterer.FinishAnalysis();
  double took = double(clock() - begin) / CLOCKS_PER_SEC;

  RootFile *kept = RootFile::GetInstance(config);
  FILE *out = fopen(argv[3], "w");
  if (!out) return 3;
  fprintf(out, "T %.9f\n", took);
  for (auto &c : kept->planes) {
    fprintf(out, "P %u %d %d %u %.17g %.17g %.17g %.17g %.17g %.17g %d", c.id, c.det, c.plane, c.adc,
            c.pos, c.time, c.pos_charge2, c.time_charge2, c.pos_utpc, c.time_utpc,
            c.max_missing_strip);
    for (size_t n = 0; n < c.strips.size(); n++) fprintf(out, " %.17g %.17g", c.strips[n], c.times[n]);
    fprintf(out, "\n");
  }
  for (auto &c : kept->detectors) fprintf(out, "D %u %u %u\n", c.id0, c.id1, c.id2);
  fclose(out);
  _exit(0);
}
