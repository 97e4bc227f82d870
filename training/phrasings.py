"""What students say to their tutor, and what invented facts are made of: the lists that tutor.py draws from."""

from lists import phrases, words

# How students ask

ASK = phrases(
    """
    What is {}?; What is {}?; What is {}?; Explain {}.; Can you explain {}?; What does {} mean?; Tell me about {}.;
    I don't understand {}.; Could you help me with {}?; Please explain {} again.; Define {}.; Do you know what {} is?;
    What do you mean by {}?; I have a question about {}.; How does {} work?; What's {}?; Can you tell me what {} means?;
    Could you explain {} please?; I still don't get {}.; I'm confused about {}.; Explain {} to me.;
    What is the meaning of {}?; What is the definition of {}?; I forgot what {} means.; My teacher asked me about {}.;
    We learned about {} today.; Can you help me understand {}?; How would you explain {} to a child?;
    I need help with {}.; What exactly is {}?; Teach me about {}.; What would you say {} is?;
    Give me a definition of {}.; In one sentence, what is {}?; So what is {}?; I want to know what {} is.;
    Let's talk about {}.; Remind me what {} is.; Help me with {}.; What was {} again?; How would you define {}?;
    Describe {}.; I have never heard of {}.
    """
)
EXAMPLE = phrases(
    """
    Give me an example of {}.; Can you give me an example of {}?; What is an example of {}?;
    Do you have an example for {}?; Can you give me a simple example of {}?; Show me an example of {}.
    """
)
MISTAKE = phrases(
    """
    What do people get wrong about {}?; What is a common mistake about {}?; What should I not confuse about {}?;
    What do students get wrong about {}?; What should I watch out for with {}?
    """
)
DETAIL = phrases(
    """
    Tell me more about {}.; What else should I know about {}?; Can you tell me more about {}?;
    Go into more detail about {}.; What more is there to {}?
    """
)
COMPARE = phrases(
    """
    What is the difference between {} and {}?; Compare {} and {}.; How are {} and {} different?;
    What's the difference between {} and {}?; I mixed up {} and {}.
    """
)
CHECK = phrases("Is it true that {}?; Is it right that {}?; I think that {}.; So {}?; My teacher says that {}.")
SUM = phrases(
    """
    What is {}?; What is {}?; How much is {}?; What's {}?; Can you tell me what {} is?; What does {} make?;
    Calculate {}.; Work out {}.; What do I get for {}?; Tell me {}.; What does {} come to?; Do you know what {} makes?;
    Tell me the result of {}.
    """
)
OPENINGS = ["Excuse me, ", "Sorry, ", "Okay, ", "Please, ", "I have a question, ", "One more question, ", "And ", "So "]
LOOKUP = phrases(
    """
    What does it say about {}?; What is written about {}?; What does the page say about {}?; Read me the part about {}.;
    What about {}?; What did it say about {}?; Tell me about {}.; Find the sentence about {}.; What is said about {}?;
    Where does it speak of {}?
    """
)
# never trained on, for measuring
HELD_OUT = frozenset(
    {
        *phrases(
            """
            Define {}.; I need help with {}.; What exactly is {}?; Teach me about {}.; What would you say {} is?;
            Give me a definition of {}.; Do you have an example for {}?; What do students get wrong about {}?;
            Can you tell me more about {}?; How are {} and {} different?; Is it right that {}?; How much is {}?;
            What does {} come to?; Do you know what {} makes?; Tell me the result of {}.; Find the sentence about {}.
            """
        ),
        "One more question, ",
    }
)

# What is answered without a course

# what students say, and the answer
SMALL_TALK = [
    (
        phrases("Hello.; Hi there.; Good morning.; Hi.; Good afternoon.; Let's begin.; Let's start the lesson."),
        "Hello! What would you like to learn today?",
    ),
    (
        phrases(
            "Thank you.; Thanks, that helps.; Thanks a lot.; Thank you very much.; That makes sense.; I understand now."
        ),
        "You are welcome. Ask me whenever you like.",
    ),
    (
        phrases("Who are you?; What can you do?; What are you?; What is your name?"),
        "I am your tutor. Ask me about your course, and I will explain it in plain words.",
    ),
    (
        phrases("Can you help me?; I need help.; I have a question.; Could you help me?; I have one more question."),
        "Of course. What is your question?",
    ),
    (
        phrases("I am not sure.; I don't know.; I am confused.; I don't understand.; This is too hard."),
        "That is fine. Tell me which word is new to you, and we start there.",
    ),
    (phrases("How are you?; How are you today?"), "I am well, thank you. What shall we look at?"),
    (
        phrases(
            "Could you repeat that?; Can you say that again?; Please explain that again.; Can you say that in "
            "other words?; What did you say?"
        ),
        "Of course. Which word or idea shall I explain again?",
    ),
    (phrases("Goodbye.; See you later.; That is all for today.; See you tomorrow.; Bye."), "Goodbye. Come back soon."),
]
NOBODY_KNOWS = phrases(
    """
    the capital of mars; my sister's birthday; the price of a train ticket; tomorrow's weather; the best pizza in town;
    your favourite song; the name of my teacher; the next lottery numbers; the king of the moon; the colour of my house;
    a good film; the latest news; the phone number of the school; a carburettor; the offside rule; a tax return;
    a bicycle chain; chess; a recipe for soup; a passport; football; a parking ticket; my homework; the exam next week;
    a saxophone; a tractor; a matrix; a tensor; a polymer; a kidney; an owl; a giraffe; the stock exchange; a violin;
    a submarine; karate; knitting; a dishwasher; the Eiffel tower; a waterfall; a mortgage; a sandwich; a helicopter;
    an elevator; gardening; the treaty of Utrecht; a lawn mower; ballet; a hotel; cheese; a fax machine; poker;
    a zipper; surfing; my timetable; an umbrella; the lunch menu; a rainbow trout
    """
)
HELD_OUT_UNKNOWN = phrases(
    """
    the winner of the match; the rules of cricket; a trombone; a microwave oven; the bus to the station; a crocodile;
    tennis; my password; a toothbrush; the mayor of the town
    """
)
# of rare words: training's further unknown things
THINGS = phrases(
    """
    {}; {}; a {}; a {}; the {}; the {}; my {}; {} {}; a {} {}; the {} {}; the {} of the {}; the {} of {}; a {} of {};
    the {} in the {}; {} and {}; your {}; the {} to the {}; {}s; the {}s
    """
)

# What contexts and invented facts are made of

COURSES = phrases(
    """
    Biology 101; Physics for Beginners; Chemistry Basics; World History; Algebra One; Introduction to Computing;
    Earth Science; English Grammar; Economics 101; Calculus; Psychology
    """
)
PERSONAS = phrases(
    """
    friendly coach; patient professor; strict examiner; cheerful guide; calm mentor; curious friend; Socratic teacher
    """
)
LEVELS = phrases("beginner; intermediate; advanced; easy; hard")
NAMES = words(
    """
    Alder Birch Calder Dunmore Elstow Farrow Garland Hadley Ivory Juniper Kestrel Lorimer Marlow Norwood Oakley Preston
    Quill Rowan Selby Thorne Upton Vance Wexford Yarrow Zeller
    """
)
SYLLABLES = words(
    """
    ba be bo bra da del do dra fa fel fin ga gor gra hal ha jo ka kel kor la len lo lu ma mar mi mo na nel no pa per po
    qui ra ri ron sa sel so ta tel tor tri va ven vo wa wen za zel zo
    """
)
ENDINGS = words("n r l s th ck ra den ford ley mont na lia ton vik wood x")
FIRST_NAMES = words(
    """
    Ada Ben Clara David Emma Felix Grace Henry Ida Jonas Karin Leo Maria Nina Oscar Paula Rosa Simon Tara Victor
    """
)
WORDS = {
    "place": words("Lisbon Oslo Dublin Cairo Lima Kyoto Boston Vienna Nairobi Geneva Warsaw Delhi Quito Athens Tunis"),
    "thing": words("bridge telescope engine library clock school garden tower mill theatre"),
    "material": words("copper iron silver tin glass stone oak marble clay steel"),
    "animal": words("beetle frog lizard parrot spider salmon bat fox snail crab"),
    "food": words("berries moss small_fish seeds grass honey mushrooms worms nuts leaves"),
    "colour": words("red green blue yellow purple grey white orange brown black"),
    "use": words("roofs candles batteries paint mirrors medicine fuel boats lamps paper"),
    "topic": words("optics poetry genetics music geology trade logic painting farming medicine"),
    "day": words("Monday Tuesday Wednesday Thursday Friday Saturday"),
    "month": words("January February March April May June July August September October"),
}

# Number words

ONES = words(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
    """
)
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")

# What a recogniser confuses

# sounds that are written otherwise
SOUNDS_ALIKE = [
    tuple(pair.split("-"))
    for pair in words(
        """
        ph-f f-ph c-k k-c s-c ee-ea ea-ee i-e e-i a-o o-a tion-shon y-i ck-k ou-ow th-t t-d d-t b-p p-b m-n n-m er-a u-a
        l- h- e- s-z w-wh r-rr g-k v-f ai-a qu-kw x-ks ng-n t- s-
        """
    )
]
HOMOPHONES = dict(
    pair.split("-")
    for pair in words(
        """
        two-to four-for eight-ate one-won sum-some what's-whats i'm-im don't-dont whole-hole weigh-way wait-weight
        cell-sell mean-meen right-write
        """
    )
)
