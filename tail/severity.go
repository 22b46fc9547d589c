package tail

import "strconv"

// severityOf returns the SeverityNumber of a level, 0 if it is not known. Words are those of
// appendix B of the logs data model, of log/slog ("INFO+2": its steps are those of
// SeverityNumber), and the short forms that loggers write. Numbers are those of pino and bunyan,
// 10 to 60; others mean different things to different loggers.
func severityOf(level []byte, word bool) int {
	if !word {
		if len(level) != 2 || level[1] != '0' || level[0] < '1' || level[0] > '6' {
			return 0
		}
		return 1 + 4*int(level[0]-'1')
	}
	var lower [16]byte
	if len(level) > len(lower) {
		return 0
	}
	n := 0
	for ; n < len(level) && level[n] != '+' && level[n] != '-'; n++ {
		lower[n] = level[n]
		if level[n]-'A' <= 'Z'-'A' {
			lower[n] |= 0x20
		}
	}
	number := 0
	switch string(lower[:n]) {
	case "trace", "finest", "silly", "trc", "trce", "t":
		number = 1
	case "debug", "finer", "verbose", "dbg", "dbug", "d":
		number = 5
	case "fine":
		number = 6
	case "config":
		number = 7
	case "info", "information", "informational", "inf", "log", "i":
		number = 9
	case "notice":
		number = 10
	case "warn", "warning", "wrn", "w":
		number = 13
	case "error", "err", "severe", "fail", "e":
		number = 17
	case "critical", "crit", "dpanic":
		number = 18
	case "alert", "panic":
		number = 19
	case "fatal", "emergency", "emerg", "ftl", "f":
		number = 21
	default:
		return 0
	}
	if n == len(level) {
		return number
	}
	step, err := strconv.Atoi(view(level[n:]))
	if err != nil || step < -24 || step > 24 {
		return 0
	}
	return max(1, min(number+step, 24))
}
