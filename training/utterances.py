"""What students say in lessons, without punctuation: the lists that speech.py draws from."""

from lists import phrases, words

# subject -> its terms
TERMS = {
    "mathematics": phrases(
        """
        number; whole number; natural number; integer; fraction; decimal; percentage; ratio; proportion; prime number;
        square root; cube root; exponent; power of ten; equation; inequality; variable; constant; coefficient; term;
        expression; formula; function; slope; intercept; derivative; integral; limit; infinity; matrix; determinant;
        vector; scalar; triangle; right triangle; circle; rectangle; square; polygon; hexagon; cube; sphere; cylinder;
        cone; pyramid; angle; right angle; parallel line; perpendicular line; area; volume; perimeter; circumference;
        diameter; radius; symmetry; the pythagorean theorem; probability; chance; mean; median; mode; average; range;
        standard deviation; variance; statistics; algebra; geometry; calculus; trigonometry; sine; cosine; tangent;
        logarithm; polynomial; quadratic equation; linear equation; sequence; series; proof; theorem; axiom; set;
        subset; union; intersection; factor; multiple; greatest common divisor; remainder; division; multiplication;
        subtraction; addition; permutation; combination; factorial; complex number; imaginary number; negative number;
        absolute value; coordinate; graph; axis; parabola; long division; rounding; estimation
        """
    ),
    "physics": phrases(
        """
        gravity; force; mass; weight; velocity; speed; acceleration; momentum; inertia; friction; energy;
        kinetic energy; potential energy; heat; temperature; work; power; pressure; density; buoyancy; electricity;
        electric current; voltage; resistance; circuit; battery; charge; conductor; insulator; semiconductor; magnet;
        magnetic field; electromagnet; wave; frequency; wavelength; amplitude; sound; echo; light; reflection;
        refraction; lens; mirror; prism; colour; spectrum; conduction; convection; radiation; thermodynamics; entropy;
        the speed of light; relativity; quantum mechanics; nuclear energy; nuclear fusion; nuclear fission;
        radioactivity; half life; newton's first law; newton's second law; newton's third law; lever; pulley;
        inclined plane; torque; gear; spring; pendulum; vacuum; laser; photon; particle; conservation of energy;
        free fall; air resistance; centripetal force; static electricity; efficiency; engine; transformer; generator
        """
    ),
    "chemistry": phrases(
        """
        atom; molecule; electron; proton; neutron; nucleus; ion; isotope; element; compound; mixture; acid; base; salt;
        alkali; chemical reaction; oxidation; reduction; combustion; rust; catalyst; the periodic table; covalent bond;
        ionic bond; metallic bond; hydrogen bond; solution; solvent; solute; concentration; distillation; filtration;
        evaporation; condensation; crystal; gas; liquid; solid; plasma; melting point; boiling point; freezing; oxygen;
        hydrogen; nitrogen; carbon; carbon dioxide; helium; sodium; chlorine; calcium; iron; copper; gold; silver;
        mercury; lead; zinc; aluminium; sulphur; phosphorus; methane; ammonia; ethanol; sugar; polymer; plastic; alloy;
        electrolysis; noble gas; metal; atomic number; valence electron; organic chemistry; fermentation; soap;
        chemical formula; mole
        """
    ),
    "biology": phrases(
        """
        photosynthesis; respiration; chlorophyll; evolution; natural selection; adaptation; mutation; gene; chromosome;
        dna; heredity; cell; cell wall; cell membrane; nucleus; mitochondria; tissue; organ; organism; species; osmosis;
        diffusion; mitosis; meiosis; enzyme; protein; carbohydrate; fat; vitamin; mineral; hormone; insulin; bacteria;
        virus; fungus; parasite; immune system; antibody; vaccine; antibiotic; disease; infection; ecosystem; habitat;
        food chain; food web; predator; prey; producer; consumer; decomposer; biodiversity; extinction; heart; lung;
        liver; kidney; stomach; brain; neuron; nervous system; digestion; blood; red blood cell; artery; vein; oxygen;
        muscle; bone; skeleton; skin; eye; ear; reflex; plant; root; stem; leaf; flower; seed; pollen; pollination;
        germination; animal; mammal; reptile; amphibian; insect; bird; fish; vertebrate; invertebrate; hibernation;
        migration; camouflage; metabolism; homeostasis; symbiosis; embryo; egg; reproduction; stem cell; clone;
        fossil record
        """
    ),
    "earth and space": phrases(
        """
        earthquake; volcano; plate tectonics; continent; continental drift; erosion; weathering; rock; the rock cycle;
        igneous rock; sedimentary rock; metamorphic rock; mineral; fossil; soil; magma; lava; mountain; valley; river;
        delta; glacier; desert; rainforest; ocean; tide; ocean current; weather; climate; climate change; atmosphere;
        ozone layer; the greenhouse effect; global warming; the water cycle; precipitation; humidity; cloud; thunder;
        lightning; hurricane; tornado; season; equator; latitude; longitude; time zone; the moon; the sun; planet; star;
        galaxy; the milky way; the solar system; comet; asteroid; meteor; orbit; eclipse; black hole; supernova;
        the big bang; light year; telescope; satellite; space station; rocket; mars; venus; jupiter; saturn;
        renewable energy; solar panel; wind turbine; fossil fuel; coal; oil; natural gas; recycling; pollution;
        acid rain; drought; flood; earth's core; earth's crust; mantle; gravity on the moon
        """
    ),
    "computing": phrases(
        """
        algorithm; program; programming language; variable; loop; condition; function; recursion; array; list; stack;
        queue; tree; graph; hash table; linked list; string; integer; boolean; database; table; query; network;
        internet; web page; browser; server; client; protocol; binary number; bit; byte; compiler; interpreter;
        operating system; file; folder; memory; processor; keyboard; hardware; software; bug; debugging; testing;
        encryption; password; firewall; computer virus; machine learning; artificial intelligence; neural network;
        training data; language model; speech recognition; data structure; sorting; bubble sort; binary search;
        big o notation; object; class; inheritance; interface; pixel; image; cloud computing; robot; sensor;
        open source; version control; logic gate
        """
    ),
    "history": phrases(
        """
        democracy; monarchy; republic; constitution; parliament; election; revolution; the french revolution;
        the american revolution; the industrial revolution; the roman empire; the british empire; the ottoman empire;
        the renaissance; the reformation; the enlightenment; world war one; world war two; the cold war;
        the berlin wall; slavery; colonialism; feudalism; the middle ages; the black death; the crusades; ancient egypt;
        ancient greece; ancient rome; mesopotamia; pharaoh; pyramid; emperor; knight; castle; treaty; citizenship;
        civil war; civil rights; human rights; suffrage; nationalism; communism; socialism; capitalism; fascism;
        dictatorship; propaganda; the silk road; the printing press; the steam engine; julius caesar; napoleon;
        primary source; timeline; archaeology; bronze age; iron age; stone age; independence; the united nations;
        immigration; trade route; viking; samurai; dynasty; philosophy
        """
    ),
    "economics": phrases(
        """
        inflation; deflation; supply and demand; market; market economy; price; tax; income tax; trade; import; export;
        tariff; money; currency; exchange rate; bank; central bank; interest; interest rate; compound interest; loan;
        debt; saving; investment; stock; stock market; bond; profit; loss; revenue; cost; budget; deficit; unemployment;
        recession; economic growth; gross domestic product; scarcity; opportunity cost; monopoly; competition; consumer;
        producer; goods and services; labour; wage; minimum wage; productivity; incentive; public good; subsidy;
        globalization; insurance; risk; poverty
        """
    ),
    "language": phrases(
        """
        noun; proper noun; pronoun; verb; irregular verb; auxiliary verb; adjective; adverb; preposition; conjunction;
        article; interjection; subject; object; predicate; clause; phrase; sentence; paragraph; essay; thesis statement;
        introduction; conclusion; metaphor; simile; irony; sarcasm; alliteration; rhyme; rhythm; syllable; vowel;
        consonant; synonym; antonym; homophone; prefix; suffix; grammar; spelling; punctuation; comma; semicolon; colon;
        apostrophe; quotation mark; question mark; capital letter; poem; sonnet; novel; short story; narrator;
        point of view; theme; plot; setting; character; dialogue; conflict; past tense; present tense; future tense;
        present perfect; passive voice; active voice; plural; comparative; superlative; idiom; proverb; accent; dialect;
        translation; vocabulary; pronunciation; biography; fable; myth; legend; play; shakespeare; tone; mood; imagery;
        symbolism; personification
        """
    ),
    "study skills": phrases(
        """
        spaced repetition; active recall; note taking; mind map; flash card; revision; summary; study plan; timetable;
        deadline; concentration; motivation; memory; mnemonic; reading strategy; skimming; scanning; proofreading;
        quotation; citation; plagiarism; bibliography; group work; presentation; exam; multiple choice; homework;
        critical thinking; argument; evidence; hypothesis; experiment; control group; observation; scientific method;
        measurement; unit of measurement; data; diagram; bar chart; pie chart; feedback; goal setting; time management;
        learning by doing; self test
        """
    ),
}
ASK_ONE = phrases(
    """
    what is {}; what is {}; what is {}; what's {}; what are {}; explain {}; explain {} to me; can you explain {};
    could you explain {} please; please explain {} again; please explain {}; what does {} mean; what do you mean by {};
    how does {} work; how do we use {}; how do i calculate {}; how is {} measured; why is {} important;
    why do we need {}; why do we study {}; why does {} matter; where do we find {}; when do we use {};
    who discovered {}; who invented {}; tell me about {}; tell me more about {}; tell me something about {};
    give me an example of {}; can you give me an example of {}; can you give me a simple example of {};
    i don't understand {}; i do not understand {}; i still don't get {}; i'm confused about {};
    i have a question about {}; could you help me with {}; can you help me understand {}; i need help with {};
    do you know what {} is; is {} hard to learn; how do i remember {}; what should i know about {};
    what are the parts of {}; what causes {}; what happens without {}; define {}; describe {}; let's talk about {};
    let's practise {}; quiz me on {}; ask me a question about {}; i forgot what {} means; what is the definition of {};
    what is the meaning of {}; what is an example of {}; is there a formula for {}; what do people get wrong about {};
    how would you explain {} to a child; my teacher asked me about {}; we learned about {} today;
    i think {} is interesting; i have a test on {} tomorrow; the next chapter is about {}; what is the history of {};
    how big is {}; how many kinds of {} are there; what is {} used for; where does {} come from;
    in one sentence what is {}; so {} is what exactly; what is a {}; what is the {}; show me how {} works;
    can we go over {} once more
    """
)
ASK_TWO = phrases(
    """
    what's the difference between {} and {}; what is the difference between {} and {}; how are {} and {} different;
    compare {} and {}; how is {} related to {}; is {} the same as {}; what do {} and {} have in common;
    does {} cause {}; how does {} affect {}; i mixed up {} and {}; should i learn {} before {}; is {} part of {};
    what comes first {} or {}; explain {} and {}
    """
)
SMALL_TALK = phrases(
    """
    hello; hi there; good morning; good afternoon; thank you; thank you very much; thanks that helps; thanks a lot;
    can you help me; i need help; who are you; what can you do; what is your name; how are you; how are you today;
    i am not sure; i don't know; i am confused; could you repeat that; could you say that again; please speak slowly;
    yes please; no thank you; yes; no; okay; that was too fast; what did you say; can you say that in other words;
    i did not hear you; let's start the lesson; let's begin; let's go on; next question please; i want to practise;
    i am ready; wait a moment; stop; goodbye; see you later; see you tomorrow; that is all for today; that makes sense;
    i understand now; i see; that is right; that is wrong; is that correct; is my answer right; why not;
    what happens next; how do you know that; tell me more; give me a hint; give me another example; make it shorter;
    make it simpler; explain it again; start again; what should i do next; i finished my homework; when is the exam;
    which page is it on; can you read that to me; how do you spell that; how do you say that in english;
    what was the question; i have one more question; are you sure; good idea; never mind; excuse me; i am sorry
    """
)
THINGS = words(
    """
    apples books pages pencils minutes hours days weeks students teachers cells atoms planets words letters steps points
    questions answers coins metres miles grams litres degrees people cars trees houses chairs cats dogs
    """
)
NUMBERS = phrases(
    """
    what is {a} plus {b}; what is {a} minus {b}; what is {a} times {b}; what is {a} divided by {b};
    how much is {a} plus {b}; how much is {a} times {b}; what's {a} plus {b}; {a} plus {b} is {c}; {a} times {b} is {c};
    is {a} bigger than {b}; what is {a} percent of {b}; the answer is {a}; i got {a}; my answer is {a};
    is it {a} or {b}; count from {a} to {b}; turn to page {a}; it was in the year {year}; in the year {year};
    what happened in {year}; what is half of {a}; what is the square root of {a}; what is {a} squared;
    {a} comes after {b}; i am {a} years old; exercise number {a}; question {a} please; there are {a} {things};
    i have {a} {things}; how many {things} are in {a} {things}; she bought {a} {things} and {b} {things};
    we need {a} more {things}; is {a} a prime number; round {a} to the nearest ten; what is {a} over {b};
    write {a} as a fraction
    """
)
