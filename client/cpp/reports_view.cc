#include "client/cpp/reports_view.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "client/cpp/table.h"
#include "client/cpp/text.h"

namespace scalpel::client {

void PrintReports(const Screen& screen, const std::vector<v1::InterventionReport>& reports) {
  if (reports.empty()) return;
  std::vector<std::vector<std::string>> rows;
  for (const v1::InterventionReport& report : reports) {
    rows.push_back({absl::StrCat(report.index()), Fit(Printable(report.name()), 24),
                    Thousands(report.sites_touched()), Thousands(report.elements_selected()),
                    Thousands(report.elements_changed()), Number(report.max_abs_change())});
  }
  screen.out << "\n" << screen.Bold("interventions") << "\n";
  PrintTable(screen,
             {{"#", true},
              {"name"},
              {"places", true},
              {"elements", true},
              {"changed", true},
              {"max |change|", true}},
             rows);
}

}  // namespace scalpel::client
