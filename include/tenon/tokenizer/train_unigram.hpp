#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/core/parallel.hpp"
#include "tenon/tokenizer/byte_trie.hpp"
#include "tenon/tokenizer/merge.hpp"
#include "tenon/tokenizer/repeated_parts.hpp"
#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/word_counts.hpp"

namespace tenon {

/// How a unigram vocabulary is learned.
struct UnigramTrainingOptions {
    std::size_t vocabulary_size = 8000;     ///< tokens, characters included
    std::size_t seed_size = 1'000'000;      ///< tokens to begin with, of which the best remain
    std::size_t maximum_token_length = 16;  ///< in characters
    double shrinking_factor = 0.75;         ///< what remains of the tokens in each round
    int iterations = 2;                     ///< of expectation and maximization in each round
};

/// A token and the logarithm of its probability.
struct ScoredToken {
    std::string text;
    double score;
};

namespace detail {

/// The tokens of a unigram model while it is learned, and what words say of them.
class UnigramLearner {
public:
    explicit UnigramLearner(const WordCounts& words) : words_(words) {}

    std::vector<ScoredToken>& tokens() { return tokens_; }

    /// Makes scores logarithms of probabilities.
    void normalize() {
        double sum = 0;
        for (const ScoredToken& token : tokens_) sum += token.score;
        for (ScoredToken& token : tokens_) token.score = std::log(token.score / sum);
    }

    /// One step of expectation and maximization (Dempster et al. 1977): tokens that are hardly expected are
    /// dropped, but for characters; scores are those of a Bayesian estimate, which favours fewer tokens.
    void improve() {
        build_trie();
        const std::vector<double> expected =
            sum_over_words([this](std::string_view word, double count, Lattice& lattice,
                                  std::vector<double>& sums) { add_expected(word, count, lattice, sums); });
        std::vector<ScoredToken> kept;
        std::vector<double> counts;
        double sum = 0;
        for (std::size_t id = 0; id < tokens_.size(); ++id) {
            if (expected[id] < 0.5 && !is_character(tokens_[id].text)) continue;
            kept.push_back(std::move(tokens_[id]));
            counts.push_back(std::max(expected[id], 0.5));
            sum += counts.back();
        }
        const double log_sum = digamma(sum);
        for (std::size_t i = 0; i < kept.size(); ++i) kept[i].score = digamma(counts[i]) - log_sum;
        tokens_ = std::move(kept);
    }

    /// Drops the tokens that are missed least, until `size` remain; characters stay.
    void prune(std::size_t size) {
        build_trie();
        const std::vector<double> counts = sum_over_words(
            [this](std::string_view word, double count, Lattice& lattice, std::vector<double>& sums) {
                best_path(word, absent, lattice);
                for (const TokenId id : lattice.path) sums[id] += count;
            });
        double sum = 0;
        for (const double count : counts) sum += count;
        const double log_sum = std::log(sum);
        struct Candidate {
            double loss;
            TokenId id;
        };
        std::vector<Candidate> candidates;
        std::vector<bool> is_kept(tokens_.size());
        std::size_t kept = 0;
        Lattice lattice;
        for (TokenId id = 0; id < tokens_.size(); ++id) {
            if (is_character(tokens_[id].text)) {
                is_kept[id] = true;
                ++kept;
                continue;
            }
            if (counts[id] == 0) continue;
            // The next best way to write the token; if it is better than the token, nothing is lost.
            const double score = best_path(tokens_[id].text, id, lattice);
            if (score >= tokens_[id].score) continue;
            const double log_sum_without =
                std::log(sum + counts[id] * static_cast<double>(lattice.path.size() - 1));
            double without = 0;
            for (const TokenId part : lattice.path)
                without += std::log(counts[part] + counts[id]) - log_sum_without;
            candidates.push_back({counts[id] / sum * (std::log(counts[id]) - log_sum - without), id});
        }
        std::sort(candidates.begin(), candidates.end(), [this](const Candidate& a, const Candidate& b) {
            return a.loss != b.loss ? a.loss > b.loss : tokens_[a.id].text < tokens_[b.id].text;
        });
        for (std::size_t i = 0; i < candidates.size() && kept < size; ++i, ++kept)
            is_kept[candidates[i].id] = true;
        std::vector<ScoredToken> tokens;
        for (TokenId id = 0; id < tokens_.size(); ++id)
            if (is_kept[id]) tokens.push_back(std::move(tokens_[id]));
        tokens_ = std::move(tokens);
    }

    static bool is_character(std::string_view text) {
        return decode_utf8_character(text).size == text.size();
    }

private:
    /// The ways to cut a word into tokens: for each place, the tokens that end there.
    struct Lattice {
        struct Edge {
            std::uint32_t begin, end;
            TokenId id;
        };
        std::vector<Edge> edges;
        std::vector<double> forward, backward;
        std::vector<std::uint32_t> best;  // the edge that the best path takes to each place
        std::vector<TokenId> path;
    };

    static constexpr double impossible = -std::numeric_limits<double>::infinity();

    void build_trie() {
        std::vector<std::pair<std::string_view, std::uint32_t>> texts;
        texts.reserve(tokens_.size());
        for (TokenId id = 0; id < tokens_.size(); ++id) texts.emplace_back(tokens_[id].text, id);
        trie_ = ByteTrie(std::move(texts));
    }

    /// Sums over all words what `add(word, count, lattice, sums)` adds for each token. In parts whose number
    /// does not depend on the threads, so that neither do the sums.
    template <class Add>
    std::vector<double> sum_over_words(Add&& add) const {
        constexpr std::uint32_t parts = 16;
        std::vector<std::vector<double>> sums(parts);
        parallel_for_each(parts, [&](std::int64_t part) {
            std::vector<double>& own = sums[static_cast<std::size_t>(part)];
            own.resize(tokens_.size());
            Lattice lattice;
            for (std::uint32_t i = static_cast<std::uint32_t>(part); i < words_.size(); i += parts)
                add(words_.word(i), static_cast<double>(words_.count(i)), lattice, own);
        });
        for (std::uint32_t part = 1; part < parts; ++part)
            for (std::size_t id = 0; id < tokens_.size(); ++id) sums[0][id] += sums[part][id];
        return std::move(sums[0]);
    }

    /// Calls visit(begin, end, id) for every token in a word, by where it begins.
    template <class Visit>
    void for_each_edge(std::string_view word, Visit&& visit) const {
        for (std::size_t begin = 0; begin < word.size();) {
            trie_.for_each_prefix(word.substr(begin),
                                  [&](std::size_t size, TokenId id) { visit(begin, begin + size, id); });
            begin += decode_utf8_character(word.substr(begin)).size;
        }
    }

    static double add_logarithms(double a, double b) {
        if (a < b) std::swap(a, b);
        return b == impossible ? a : a + std::log1p(std::exp(b - a));
    }

    /// Adds how often each token is expected in a word: forward and backward sums over all paths (Baum et al.
    /// 1970).
    void add_expected(std::string_view word, double count, Lattice& lattice,
                      std::vector<double>& sums) const {
        lattice.edges.clear();
        lattice.forward.assign(word.size() + 1, impossible);
        lattice.backward.assign(word.size() + 1, impossible);
        lattice.forward[0] = lattice.backward[word.size()] = 0;
        for_each_edge(word, [&](std::size_t begin, std::size_t end, TokenId id) {
            if (lattice.forward[begin] == impossible) return;
            lattice.edges.push_back({static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), id});
            lattice.forward[end] =
                add_logarithms(lattice.forward[end], lattice.forward[begin] + tokens_[id].score);
        });
        const double all = lattice.forward[word.size()];
        if (all == impossible) return;  // a character that is no token
        for (std::size_t i = lattice.edges.size(); i-- > 0;) {
            const auto [begin, end, id] = lattice.edges[i];
            const double through = tokens_[id].score + lattice.backward[end];
            lattice.backward[begin] = add_logarithms(lattice.backward[begin], through);
            sums[id] += count * std::exp(lattice.forward[begin] + through - all);
        }
    }

    /// The best way to cut a word (Viterbi 1967) without one of the tokens; its score.
    double best_path(std::string_view word, TokenId without, Lattice& lattice) const {
        lattice.edges.clear();
        lattice.forward.assign(word.size() + 1, impossible);
        lattice.best.assign(word.size() + 1, 0);
        lattice.forward[0] = 0;
        for_each_edge(word, [&](std::size_t begin, std::size_t end, TokenId id) {
            const double score = lattice.forward[begin] + tokens_[id].score;
            if (id == without || !(score > lattice.forward[end])) return;
            lattice.forward[end] = score;
            lattice.best[end] = static_cast<std::uint32_t>(lattice.edges.size());
            lattice.edges.push_back({static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), id});
        });
        lattice.path.clear();
        if (lattice.forward[word.size()] == impossible) return impossible;
        for (std::size_t at = word.size(); at > 0; at = lattice.edges[lattice.best[at]].begin)
            lattice.path.push_back(lattice.edges[lattice.best[at]].id);
        return lattice.forward[word.size()];
    }

    /// The derivative of the logarithm of the gamma function, for positive numbers: by its recurrence and,
    /// from 7 on, its asymptotic series (Abramowitz and Stegun 1964, 6.3.18).
    static double digamma(double x) {
        double sum = 0;
        for (; x < 7; ++x) sum -= 1 / x;
        x -= 0.5;
        const double square = 1 / (x * x);
        return sum + std::log(x) +
               square * (1.0 / 24 - square * (7.0 / 960 - square * (31.0 / 8064 - square * 127.0 / 30720)));
    }

    const WordCounts& words_;
    std::vector<ScoredToken> tokens_;
    ByteTrie trie_;
};

}  // namespace detail

/// Learns the tokens of a unigram model (Kudo 2018, "Subword Regularization: Improving Neural Network
/// Translation Models with Multiple Subword Candidates"): of many parts of words that come often, in rounds,
/// those remain without which the text would be least probable; of characters, all. The most probable come
/// first. Calls on_progress(tokens now, vocabulary size) after each round. The same for any number of
/// threads. Throws Error if the characters do not fit.
template <std::invocable<std::size_t, std::size_t> OnProgress>
std::vector<ScoredToken> train_unigram(const WordCounts& words, const UnigramTrainingOptions& options,
                                       OnProgress&& on_progress) {
    detail::UnigramLearner learner(words);
    std::vector<ScoredToken>& tokens = learner.tokens();
    for (const detail::RepeatedPart& part :
         detail::repeated_parts(words, options.maximum_token_length, options.seed_size))
        tokens.push_back({std::string(part.text), part.weight});
    const auto characters =
        static_cast<std::size_t>(std::count_if(tokens.begin(), tokens.end(), [](const ScoredToken& token) {
            return detail::UnigramLearner::is_character(token.text);
        }));
    if (characters > options.vocabulary_size) {
        throw Error("expected a vocabulary of at least " + std::to_string(characters) +
                    " tokens, for the characters, got " + std::to_string(options.vocabulary_size));
    }
    learner.normalize();
    // The last round leaves a tenth more, of which scores choose.
    const std::size_t wanted = options.vocabulary_size + options.vocabulary_size / 10;
    for (bool is_last = false; !is_last;) {
        for (int i = 0; i < options.iterations; ++i) learner.improve();
        is_last = tokens.size() <= wanted;
        if (!is_last)
            learner.prune(std::max(wanted, static_cast<std::size_t>(options.shrinking_factor *
                                                                    static_cast<double>(tokens.size()))));
        on_progress(tokens.size(), options.vocabulary_size);
    }
    const auto is_before = [](const ScoredToken& a, const ScoredToken& b) {
        return a.score != b.score ? a.score > b.score : a.text < b.text;
    };
    std::sort(tokens.begin(), tokens.end(), is_before);
    std::vector<ScoredToken> chosen;
    std::size_t others = options.vocabulary_size - characters;
    for (ScoredToken& token : tokens) {
        if (!detail::UnigramLearner::is_character(token.text) && others-- == 0) {
            others = 0;
            continue;
        }
        chosen.push_back(std::move(token));
    }
    return chosen;
}

inline std::vector<ScoredToken> train_unigram(const WordCounts& words,
                                              const UnigramTrainingOptions& options = {}) {
    return train_unigram(words, options, [](std::size_t, std::size_t) {});
}

}  // namespace tenon
