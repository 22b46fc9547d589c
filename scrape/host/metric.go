package host

import "stint/scrape/series"

// Metrics lists every metric of this package, in the order of its scrapers.
func Metrics() []series.Metric {
	var all []series.Metric
	for _, s := range scrapers {
		for _, m := range s.table {
			m.Scraper = s.name
			all = append(all, m)
		}
	}
	return all
}
